"""The model card of trained weights."""

from __future__ import annotations

from pathlib import Path

from handpose.datasets.dataset import HandDataset
from handpose.training.checkpoint import load_state
from handpose.training.log import read_rows
from handpose.version import __version__
from handpose.weights.folder import Weights, write_card


def write_training_card(run: Path, folder: Path, data: str, start: Weights | None) -> None:
    """Write the model card of the weights of a training run, which has a checkpoint.

    Args:
        run: Folder of the run.
        folder: Model folder.
        data: Description of the training data.
        start: Initial weights; random by default.
    """
    state = load_state(run)
    if state is None:
        return
    settings, rows = dict(state["config"]), read_rows(run)
    metrics = ", ".join(f"{name} {value:.6g}" for row in rows[-1:] for name, value in row.items()) or "none"
    others = ", ".join(f"{name} {value}" for name, value in settings.items() if name not in ("steps", "batch", "seed"))
    initial = "random" if start is None else f"`{start.name}` (SHA-256 {start.sha256[:16]})"
    text = f"""These weights were trained with `handpose train`, version {__version__}.

| | |
|---|---|
| Training data | {data} |
| Initial weights | {initial} |
| Network | {", ".join(f"{name} {value}" for name, value in state["model"].items() if value is not None)} |
| Steps | {state["steps"]:,} of {settings["steps"]:,}, batch size {settings["batch"]}, seed {settings["seed"]} |
| Other settings | {others} |
| Last line of the log | {metrics} |"""
    write_card(folder, folder.resolve().name, text)


def describe_data(dataset: HandDataset, held_out: HandDataset | None) -> str:
    """Return the description of a data set that is trained on, for a model card."""
    parts = [
        f"{dataset.name} {dataset.split}, {len(dataset.usable):,} frames",
        "none held out" if held_out is None else f"{len(held_out.usable):,} others for validation",
        f"hand centers: {dataset.centers}",
        *dataset.notes,
    ]
    return "; ".join(parts)
