"""`handpose train-heads`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from handpose.cli.console import activities, note


def train_heads(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Model folder; heads.safetensors is written to it.")],
    crops: Annotated[int, typer.Option(metavar="N", min=256, help="Number of synthetic hands to train on.")] = 20_480,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Random seed of weights and data.")] = 0,
) -> None:
    """Train the heads that recognize hands and their sides.

    Heads tell hands from other things, and right hands from left ones. Without them, a face may be mistaken for a hand,
    and --hand auto compares the model's poses as both hands. Training the model again makes its heads invalid. Requires
    the extra `train` on first use, to generate the synthetic hand and bodies.
    """
    from handpose.io.atomic import write_atomically
    from handpose.training.heads import train_heads
    from handpose.weights.folder import read_folder
    from handpose.weights.heads_file import HEADS_FILE, heads_bytes

    weights = read_folder(folder, str(folder))
    with activities():
        result = train_heads(weights, crops=crops, seed=seed)
    write_atomically(folder / HEADS_FILE, heads_bytes(result.heads, weights.sha256))
    note(
        f"{folder / HEADS_FILE}: of the validation crops, {result.hands:.1%} of the hands and {result.others:.1%} of "
        f"the other things are classified correctly; so are the sides of {result.single:.1%} of the hands by one pass "
        f"of the network, and of {result.compared:.1%} by comparing it with that of the mirror image"
    )
