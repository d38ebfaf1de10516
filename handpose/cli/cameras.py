"""`handpose cameras`."""

from __future__ import annotations

import json

import typer

from handpose.cli.console import note, show
from handpose.cli.options import Json


def cameras(as_json: Json = False) -> None:
    """List the connected depth cameras.

    `handpose live` accepts their names. Requires the extra `realsense` or `orbbec`.

    Exit code: 0 success, 1 no camera is connected.
    """
    from handpose.live.sources.catalog import list_cameras

    found, problems = list_cameras()
    for problem in problems:
        note(problem)
    if as_json:
        show(json.dumps([camera._asdict() for camera in found], indent=2))
    else:
        for camera in found:
            show(f"{camera.name}  {camera.model}")
            for width, height, fps in camera.streams:
                show(f"    {width}x{height} at {fps:g} frames per second")
    if not found:
        note("no camera is connected")
        raise typer.Exit(1)
