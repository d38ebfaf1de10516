"""`handpose train-localizer`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from handpose.cli.console import activities, note, print_row
from handpose.cli.options import Device
from handpose.cli.signals import stop_on_signal


def train_localizer(
    run: Annotated[Path, typer.Argument(metavar="FOLDER", help="Training run; resumed if it exists.")],
    steps: Annotated[int, typer.Option(metavar="N", min=1, help="Total number of training steps.")],
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Random seed of weights and data.")] = 0,
    device: Device = "auto",
) -> None:
    """Train the network that localizes hands.

    It is trained on synthetic rooms, which require the extra `train` on first use. Ctrl-C saves a checkpoint; the same
    command resumes the training.
    """
    from handpose.adaptation.claim import claimed
    from handpose.training.distributed import training_device
    from handpose.training.localizer import train_localizer

    device = training_device(device)
    stopping = f"{run}: stopping after this step"
    with activities(), claimed(run, {"network": "localizer"}), stop_on_signal(stopping) as signals:
        done = train_localizer(run, steps, print_row, seed=seed, device=device, should_stop=lambda: bool(signals))
    if done < steps:
        note(f"{run}: stopped after step {done:,} of {steps:,} and saved; run the same command again to resume")
        raise typer.Exit(128 + signals[0])
