"""`handpose calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from handpose.cli.console import activities, note
from handpose.cli.options import Device


def calibrate(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Model folder; its config.json is changed.")],
    frames: Annotated[int, typer.Option(metavar="N", min=50, help="Number of synthetic validation images.")] = 1000,
    device: Device = "auto",
) -> None:
    """Calibrate the expected errors of a model.

    Poses with a mean expected error above 20 mm have the status low_confidence.

    Requires the extra `train` on first use, to generate the synthetic hand.
    """
    from handpose.evaluation.calibrate import calibrate
    from handpose.network.calibration import MIN_APART

    with activities():
        result = calibrate(folder, frames, device)
    note(f"{folder}: score = spread^{result.joint:g} x hand spread^{result.hand:g} x bone deviation^{result.bone:g}")
    errors = ", ".join(f"{error:.3g} mm" for error in result.errors_mm)
    note(f"expected error from the lowest to the highest score: {errors}")
    if result.passes:
        neutral = result.passes_mm + MIN_APART
        note(f"after refinement, times ((distance between passes + 1 mm) / {neutral:.3g} mm)^{result.passes:g}")
