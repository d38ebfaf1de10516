"""`handpose adapt`."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated

import typer

from handpose.cli.console import activities, print_row, show
from handpose.cli.options import Device, Json, RequiredCamera, Side, Start, TuningMinutes, TuningSteps, Unit, parse_unit
from handpose.io.choices import DEFAULT_HAND


def adapt(
    frames: Annotated[
        list[str], typer.Argument(metavar="FRAMES...", help="Depth files, folders or globs, in the order of recording.")
    ],
    camera: RequiredCamera,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FOLDER", help="Training run, with the result in FOLDER/model."),
    ],
    unit: Unit = "mm",
    hand: Side = DEFAULT_HAND,
    start: Start = None,
    steps: TuningSteps = None,
    max_minutes: TuningMinutes = None,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Adapt a model to your camera without labels.

    The model labels the frames in its most accurate mode, and is trained on the labels that it is confident about. The
    result is kept only if it is better by measures that need no labels, and not clearly worse on synthetic images.
    Requires the extra `train` on first use. The same command resumes an interrupted training.
    """
    from handpose.adaptation.adapt import adapt
    from handpose.adaptation.teacher import UnlabeledFrames
    from handpose.geometry.camera import Camera
    from handpose.io.depth.read import SUFFIXES
    from handpose.io.inputs import list_files
    from handpose.weights.resolve import find_weights

    images = UnlabeledFrames(list_files(frames, SUFFIXES), Camera.parse(camera), parse_unit(unit), hand)
    minutes = math.inf if max_minutes is None else max_minutes
    with activities():
        result = adapt(
            output,
            images,
            find_weights(start or "msra"),
            steps=steps,
            device=device,
            max_minutes=minutes,
            report=print_row,
        )
    show(json.dumps(result.to_dict()) if as_json else "\n".join(result.lines()))
