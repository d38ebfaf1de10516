"""Weights onto the Hub."""

from __future__ import annotations

from pathlib import Path

from handpose.errors import WeightsError
from handpose.weights.folder import CARD_FILE, CONFIG_FILE, MODEL_FILE, read_folder
from handpose.weights.hub import publish


def publish_weights(folder: Path, repo_id: str) -> tuple[str, str]:
    """Uploads a model folder to the Hub and returns what pins it there: the commit, and the model file's sha256.

    Args:
        folder: with `config.json`, `model.safetensors` and `README.md`, the model card. Nothing else is uploaded.
        repo_id: owner/repo, which is made if need be.

    Raises:
        WeightsError: the folder is no model that loads, has no card, or the Hub does not take it.
    """
    weights = read_folder(folder, str(folder))
    weights.load()
    if not (folder / CARD_FILE).is_file():
        raise WeightsError(f"{folder}: no {CARD_FILE}; say there what the weights were trained on, and their licence")
    return publish(folder, (CONFIG_FILE, MODEL_FILE, CARD_FILE), repo_id), weights.sha256
