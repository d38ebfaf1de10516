"""Writes frames of a recording as depth files, which labels refer to and trainings read."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from handpose.errors import HandPoseError
from handpose.geometry.camera import Camera
from handpose.io.atomic import write_atomically
from handpose.io.depth.png import read_png
from handpose.io.depth.read import read_bytes
from handpose.io.depth.units import DepthUnit, unit_of
from handpose.io.outputs import writing
from handpose.io.warn import warn_skipped
from handpose.recordings.frame import DepthFrame
from handpose.recordings.recording import Recording

_MAX_STORED = 65535
_COARSE_MM = 10.0  # recordings in floating point have a unit above it, although their values are fractions of it


class ExtractedFrames(NamedTuple):
    """Frames of a recording as depth files.

    Attributes:
        files: The depth files.
        camera: Their camera.
        unit: Unit of their values.
    """

    files: list[Path]
    camera: Camera
    unit: DepthUnit


def extract_frames(recording: Recording, folder: Path, max_frames: int) -> ExtractedFrames:
    """Write frames of a recording to 16-bit PNG files, without changing existing files.

    Args:
        recording: The recording.
        folder: Folder of a subfolder with the name of the recording.
        max_frames: Maximum number of frames, which are spread evenly over the recording.

    Raises:
        HandPoseError: The recording cannot be read or contains no complete frame, a file cannot be written, or an
            existing file is a frame of another recording of the same name.

    Warns:
        SkippedFrameWarning: A frame is damaged.
    """
    count = recording.count()
    wanted = set(np.linspace(0, count - 1, min(max_frames, count)).round().astype(int).tolist())
    files: list[Path] = []
    camera, unit = None, 1.0
    for number, stored in enumerate(recording.read()):
        if number not in wanted:
            continue
        try:
            frame = stored.decode()
        except HandPoseError as error:
            warn_skipped(str(stored), error)
            continue
        if camera is None:
            camera, unit = frame.camera, frame.unit if frame.unit <= _COARSE_MM else 1.0
        files.append(folder / recording.path.name / f"{number:06}.png")
        _write(files[-1], frame, unit)
    if camera is None:
        raise HandPoseError(f"{recording.path}: contains no complete frame")
    return ExtractedFrames(files, camera, unit_of(unit))


def _write(file: Path, frame: DepthFrame, unit: float) -> None:
    """Write a frame, unless it was written before; values that are too large for 16 bits are missing."""
    values = np.rint(frame.depth / unit)
    stored = np.where(values <= _MAX_STORED, values, 0).astype(np.uint16)
    if file.exists():
        if not np.array_equal(read_png(str(file), read_bytes(file, str(file)), None), stored):
            raise HandPoseError(
                f"{file}: contains a frame of another recording with the name {file.parent.name}; rename the "
                "recording, or pass another `output=...`"
            )
        return
    data = cv2.imencode(".png", stored)[1].tobytes()
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, data)
