"""A folder of depth files as a stream."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from handpose.errors import DepthReadError, HandPoseError
from handpose.geometry.camera import Camera
from handpose.inference.query import Query
from handpose.io.depth.read import SUFFIXES, decode_depth, read_bytes
from handpose.io.depth.stacks import EncodedFrame, split_frames
from handpose.io.depth.units import DepthUnit, millimeters_per_unit
from handpose.io.inputs import list_files
from handpose.io.warn import warn_skipped
from handpose.recordings.frame import DepthFrame, Source


def frames(folder: str | Path, camera: Camera | None = None, *, unit: DepthUnit = "mm", fps: float = 30.0) -> Source:
    """Yield the depth files of a folder, sorted by name, with numbers in names compared by value.

    Args:
        folder: Folder of depth files.
        camera: Intrinsics of the images; None assumes a field of view.
        unit: Unit of the stored depth values.
        fps: Frames per second at which the images were taken.

    Raises:
        HandPoseError: The folder contains no depth files.

    Warns:
        AssumedCameraWarning: No camera was given.
        SkippedFrameWarning: A file cannot be read, or its size does not fit the camera.
    """
    files = list_files([str(folder)], SUFFIXES)
    for number, (name, data, reason) in enumerate(frame for file in files for frame in _frames_of(file)):
        try:
            if reason:
                raise DepthReadError(reason)
            depth = decode_depth(data, name, unit)
            if camera is None:
                camera_of_frame = Query().camera_for(depth)
            else:
                fitted = camera.for_image(depth.shape[1], depth.shape[0])
                camera_of_frame = fitted if camera.width else camera
        except HandPoseError as error:
            warn_skipped(name, error)
            continue
        yield DepthFrame(depth, camera_of_frame, number / fps, millimeters_per_unit(unit), name)


def _frames_of(file: Path) -> Iterator[EncodedFrame]:
    try:
        data = read_bytes(file, str(file))
    except DepthReadError as error:
        yield EncodedFrame(str(file), b"", str(error))
    else:
        yield from split_frames(str(file), data)
