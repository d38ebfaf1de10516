"""`handpose train-localizer`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from handpose.cli.console import say_row


def train_localizer(
    run: Annotated[Path, typer.Argument(help="Folder of the training; one that has a checkpoint is continued.")],
    steps: Annotated[int, typer.Option(min=1, help="Length of the whole training.")],
    seed: Annotated[int, typer.Option(help="Of weights and data.")] = 0,
) -> None:
    """Train the small network that finds hands, on rendered rooms. Needs the extra `train` the first time."""
    from handpose.training.localizer import train_localizer

    train_localizer(run, steps, say_row, seed=seed)
