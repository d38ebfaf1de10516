"""`handpose train-sides`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from handpose.cli.console import activities, note


def train_sides(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Model folder; sides.safetensors is written to it.")],
    crops: Annotated[int, typer.Option(metavar="N", min=256, help="Number of synthetic training crops.")] = 20_480,
    seed: Annotated[int, typer.Option(metavar="N", help="Random seed of weights and data.")] = 0,
) -> None:
    """Train the network that tells right hands from left ones.

    This side head of a model serves --hand auto. Without one, the model's poses as both hands are compared. Training
    the model again makes its side head invalid. Requires the extra `train` on first use, to generate the synthetic
    hand.
    """
    from handpose.io.atomic import write_atomically
    from handpose.training.sides import train_side_head
    from handpose.weights.folder import read_folder
    from handpose.weights.side_file import SIDES_FILE, side_head_bytes

    weights = read_folder(folder, str(folder))
    with activities():
        result = train_side_head(weights, crops=crops, seed=seed)
    write_atomically(folder / SIDES_FILE, side_head_bytes(result.head, weights.sha256))
    note(
        f"{folder / SIDES_FILE}: of the validation crops, {result.single:.1%} are classified correctly by one pass of "
        f"the network, and {result.compared:.1%} by comparing it with that of the mirror image"
    )
