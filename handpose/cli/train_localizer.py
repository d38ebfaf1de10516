"""`handpose train-localizer`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from handpose.cli.console import print_row


def train_localizer(
    run: Annotated[Path, typer.Argument(help="Folder of the training run; resumed if it contains a checkpoint.")],
    steps: Annotated[int, typer.Option(min=1, help="Total number of training steps.")],
    seed: Annotated[int, typer.Option(help="Random seed of weights and data.")] = 0,
) -> None:
    """Train the network that localizes hands, on synthetic rooms. Requires the extra `train` on first use."""
    from handpose.training.localizer import train_localizer

    train_localizer(run, steps, print_row, seed=seed)
