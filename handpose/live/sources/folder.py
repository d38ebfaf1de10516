"""A folder of depth files as a stream."""

from __future__ import annotations

from pathlib import Path

from handpose.errors import HandPoseError
from handpose.geometry.camera import Camera
from handpose.io.depth.read import SUFFIXES, read_depth
from handpose.io.depth.units import DepthUnit, millimeters_per_unit
from handpose.io.inputs import natural_key
from handpose.io.warn import warn_skipped
from handpose.recordings.frame import DepthFrame, Source


def frames(folder: str | Path, camera: Camera, *, unit: DepthUnit = "mm", fps: float = 30.0) -> Source:
    """Yield the depth files of a folder, sorted by name, with numbers in names compared by value.

    Args:
        folder: Folder of depth files.
        camera: Intrinsics of the images.
        unit: Unit of the stored depth values.
        fps: Frames per second at which the images were taken.

    Raises:
        HandPoseError: The folder contains no depth files.

    Warns:
        SkippedFrameWarning: A file cannot be read, or its size does not fit the camera.
    """
    files = sorted((file for file in Path(folder).iterdir() if file.suffix.lower() in SUFFIXES), key=natural_key)
    if not files:
        raise HandPoseError(f"{folder}: no depth files in this folder; expected {', '.join(SUFFIXES)}")
    for number, file in enumerate(files):
        try:
            depth = read_depth(file, unit)
            fitted = camera.for_image(depth.shape[1], depth.shape[0])
        except HandPoseError as error:
            warn_skipped(str(file), error)
            continue
        yield DepthFrame(depth, fitted if camera.width else camera, number / fps, millimeters_per_unit(unit))
