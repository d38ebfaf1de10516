"""`handpose calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from handpose.cli.console import progress, say


def calibrate(
    folder: Annotated[Path, typer.Argument(help="The model folder whose config.json gets the calibration.")],
    frames: Annotated[int, typer.Option(min=50, help="How many rendered validation images.")] = 1000,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
) -> None:
    """Measure what a model's doubts mean in mm, for error estimates and the status low_confidence.

    Needs the extra `train` the first time, to make the hand.
    """
    from handpose.evaluation.calibrate import calibrate

    with progress(frames) as on_frame:
        found = calibrate(folder, frames, device, on_frame=on_frame)
    say(f"{folder}: doubt = spread^{found.joint:g} x hand's spread^{found.hand:g} x bone's deviation^{found.bone:g}")
    say("expected error " + ", ".join(f"{error:.3g} mm" for error in found.errors_mm) + " from least doubt to most")
    say(f"low_confidence above {found.doubtful_mm:g} mm on average")
