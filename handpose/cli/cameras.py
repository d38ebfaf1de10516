"""`handpose cameras`."""

from __future__ import annotations

import json

import typer

from handpose.cli.console import note, show
from handpose.cli.options import Json
from handpose.errors import HandPoseError


def cameras(as_json: Json = False) -> None:
    """List the connected depth cameras.

    `handpose live` accepts their names. Requires the extra `realsense` or `orbbec`.

    Exit code: 0 success, 1 no camera is connected, 2 no manufacturer's package is installed, so none can be found.
    """
    from handpose.live.sources.catalog import LIVE_SOURCES, list_cameras

    found, problems = list_cameras()
    if len(problems) == len(LIVE_SOURCES):
        raise HandPoseError(f"could not search for cameras: {'; '.join(problems)}")
    for problem in problems:
        note(f"could not search for all cameras: {problem}")
    if as_json:
        show(json.dumps([camera._asdict() for camera in found], indent=2))
    else:
        for camera in found:
            show(f"{camera.name}  {camera.model}")
            for width, height, fps in camera.streams:
                show(f"    {width}x{height} at {fps:g} frames per second")
    if not found:
        note("no camera that the installed packages support is connected" if problems else "no camera is connected")
        raise typer.Exit(1)
