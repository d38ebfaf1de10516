"""`handpose calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from handpose.cli.console import progress, say
from handpose.cli.options import Device


def calibrate(
    folder: Annotated[Path, typer.Argument(help="Model folder; the calibration is written into its config.json.")],
    frames: Annotated[int, typer.Option(min=50, help="Number of synthetic validation images.")] = 1000,
    device: Device = "auto",
) -> None:
    """Calibrate the expected errors of a model, and the threshold of the status low_confidence.

    Requires the extra `train` on first use, to generate the synthetic hand.
    """
    from handpose.evaluation.calibrate import calibrate

    with progress(frames) as on_frame:
        result = calibrate(folder, frames, device, on_frame=on_frame)
    say(f"{folder}: score = spread^{result.joint:g} x hand spread^{result.hand:g} x bone deviation^{result.bone:g}")
    errors = ", ".join(f"{error:.3g} mm" for error in result.errors_mm)
    say(f"expected error from the lowest to the highest score: {errors}")
    say(f"low_confidence above a mean expected error of {result.doubtful_mm:g} mm")
