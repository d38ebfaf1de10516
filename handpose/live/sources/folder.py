"""A folder of depth files as a stream."""

from __future__ import annotations

import re
from pathlib import Path

from handpose.errors import HandPoseError
from handpose.geometry.camera import Camera
from handpose.io.depth.read import SUFFIXES, read_depth
from handpose.io.depth.units import DepthUnit, millimetres_per_unit
from handpose.live.frame import DepthFrame, Source


def frames(folder: str | Path, camera: Camera, *, unit: DepthUnit = "mm", fps: float = 30.0) -> Source:
    """The depth files of a folder by name, numbers in names by value.

    Args:
        folder: where they are.
        camera: theirs.
        unit: what their numbers mean.
        fps: how many were taken per second.

    Raises:
        HandPoseError: there are none, or one cannot be read (`DepthReadError`).
    """
    files = sorted((file for file in Path(folder).iterdir() if file.suffix.lower() in SUFFIXES), key=_by_number)
    if not files:
        raise HandPoseError(f"{folder}: no depth files in this folder; expected {', '.join(SUFFIXES)}")
    for number, file in enumerate(files):
        depth = read_depth(file, unit)
        size = depth.shape[1], depth.shape[0]
        yield DepthFrame(depth, camera.for_image(*size), number / fps, millimetres_per_unit(unit))


def _by_number(file: Path) -> list[tuple[int, str]]:
    """So that frame2 comes before frame10."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", file.name)]
