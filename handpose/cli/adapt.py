"""`handpose adapt`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from handpose.cli.console import note_first_generation, print_row, progress, say, warnings_as_lines
from handpose.cli.options import Device, Json, Start, TuningMinutes, TuningSteps, Unit, parse_unit
from handpose.io.choices import Hand


def adapt(
    frames: Annotated[
        list[str], typer.Argument(help="Depth files, folders or globs, in the order of their recording.")
    ],
    run: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="Folder of the run, which is resumed if it exists; the model is written to model in it.",
        ),
    ],
    camera: Annotated[
        str,
        typer.Option(
            "--camera", "-c", help="icvl, nyu, msra, fx,fy,cx,cy[,width,height], or a .json or ROS .yaml file."
        ),
    ],
    unit: Unit = "mm",
    hand: Annotated[Hand, typer.Option(help="Which hand the images show.")] = "right",
    start: Start = None,
    steps: TuningSteps = None,
    max_minutes: TuningMinutes = float("inf"),
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Adapt weights to a camera, with frames that have no labels. Requires the extra `train` on first use.

    The weights label the frames in their most accurate mode, and are trained on the labels that they are certain about.
    The result is kept only if it is better by measures that need no labels, and forgets nothing.
    """
    from handpose.adaptation.adapt import adapt
    from handpose.adaptation.teacher import Frames
    from handpose.adaptation.tuning import tuning_config
    from handpose.geometry.camera import Camera
    from handpose.io.depth.read import SUFFIXES
    from handpose.io.inputs import list_files
    from handpose.weights.resolve import find_weights

    intrinsics = Camera.parse(camera)
    files = list_files(frames, SUFFIXES)
    note_first_generation("hand.npz")
    say(f"labeling {len(files)} frames with four views")
    with warnings_as_lines(), progress(tuning_config(len(files), steps).steps) as on_step:
        result = adapt(
            run,
            Frames(files, intrinsics, parse_unit(unit), hand),
            find_weights(start or "msra"),
            steps=steps,
            device=device,
            max_minutes=max_minutes,
            report=print_row,
            on_step=on_step,
        )
    typer.echo(json.dumps(result.to_dict()) if as_json else "\n".join(result.lines()))
