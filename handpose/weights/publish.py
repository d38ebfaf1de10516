"""Publishes model folders on the Hugging Face Hub."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from handpose.errors import WeightsError
from handpose.io.atomic import write_atomically
from handpose.io.text import MAX_SETTINGS_BYTES, read_text
from handpose.io.warn import collect_warnings
from handpose.weights.folder import CARD_FILE, CONFIG_FILE, MODEL_FILE, Weights, read_folder
from handpose.weights.heads_file import HEADS_FILE
from handpose.weights.hub import upload_files


def publish_weights(folder: Path, repo_id: str) -> tuple[str, str]:
    """Upload a model folder and return what identifies it: the commit, and the SHA-256 of the model file.

    Args:
        folder: Model folder, whose `README.md` is the model card. Its heads are uploaded, too; other files are not.
        repo_id: `owner/repo`; created if it does not exist.

    Raises:
        HandPoseError: The model card cannot be read.
        WeightsError: The model cannot be loaded, its heads belong to other weights, its model card is missing or
            specifies no license, or the Hub rejects the upload.
    """
    weights = read_folder(folder, str(folder))
    weights.load()
    _check_heads(weights)
    _check_card(folder / CARD_FILE)
    files = [CONFIG_FILE, MODEL_FILE, CARD_FILE, *([HEADS_FILE] if (folder / HEADS_FILE).is_file() else [])]
    return upload_files(folder, files, repo_id), weights.sha256


def publish_copy(weights: Weights, repo_id: str, card: str | Path | None = None) -> str:
    """Upload weights with another model card than their own, if one is given, and return the commit.

    Args:
        weights: The weights.
        repo_id: `owner/repo`; created if it does not exist.
        card: Path of the model card; by default the one that belongs to the weights.

    Raises:
        HandPoseError: The model card cannot be read.
        WeightsError: See `publish_weights`.
    """
    _check_heads(weights)
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "model"
        weights.save(folder)
        if card is not None:
            write_atomically(folder / CARD_FILE, read_text(Path(card), MAX_SETTINGS_BYTES).encode())
        return publish_weights(folder, repo_id)[0]


def _check_heads(weights: Weights) -> None:
    """Check that the heads next to weights, if any, belong to them."""
    file = weights.model_file.with_name(HEADS_FILE)
    with collect_warnings([]):
        if file.is_file() and weights.heads() is None:
            raise WeightsError(
                f"{file}: these heads belong to other weights; make new ones with handpose train-heads, or delete this "
                "file"
            )


def _check_card(path: Path) -> None:
    """Check that the model card exists and specifies a license."""
    if not path.is_file():
        raise WeightsError(
            f"{path.parent}: no {CARD_FILE}; describe there what the weights were trained on, and their license"
        )
    if not _front_matter(path).get("license"):
        raise WeightsError(
            f"{path}: the model card does not specify a license; insert the three lines `---`, `license: NAME` and "
            "`---` at its start"
        )


def _front_matter(path: Path) -> dict[str, Any]:
    """Return the metadata of a model card, empty if it has none."""
    from huggingface_hub import ModelCard

    text = read_text(path, MAX_SETTINGS_BYTES)
    if not text.startswith("---"):
        return {}
    try:
        return dict(vars(ModelCard(text, ignore_metadata_errors=True).data))
    except Exception as error:  # errors of the YAML parser and of the Hub's client have no common base
        raise WeightsError(f"{path}: its front matter is invalid ({' '.join(str(error).split())[:200]})") from None
