"""Publishes model folders on the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path

from handpose.errors import WeightsError
from handpose.weights.folder import CARD_FILE, CONFIG_FILE, MODEL_FILE, read_folder
from handpose.weights.hub import upload_files


def publish_weights(folder: Path, repo_id: str) -> tuple[str, str]:
    """Upload a model folder and return what identifies it: the commit, and the SHA-256 of the model file.

    Args:
        folder: Model folder, whose `README.md` is the model card. Other files are not uploaded.
        repo_id: `owner/repo`; created if it does not exist.

    Raises:
        WeightsError: The model cannot be loaded, has no model card, or is rejected by the Hub.
    """
    weights = read_folder(folder, str(folder))
    weights.load()
    if not (folder / CARD_FILE).is_file():
        raise WeightsError(
            f"{folder}: no {CARD_FILE}; describe there what the weights were trained on, and their license"
        )
    return upload_files(folder, (CONFIG_FILE, MODEL_FILE, CARD_FILE), repo_id), weights.sha256
