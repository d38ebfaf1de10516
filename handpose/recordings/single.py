"""Reads one frame, from a depth file, a file with several frames or a recording."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from handpose.errors import DepthReadError, HandPoseError
from handpose.geometry.camera import Camera
from handpose.io.depth.read import decode_depth, read_bytes, read_depth
from handpose.io.depth.stacks import count_frames, split_frames
from handpose.io.depth.units import DepthUnit
from handpose.io.inputs import file_of
from handpose.recordings.open import is_recording, open_recording

_Frame = TypeVar("_Frame")


class SingleFrame(NamedTuple):
    """One frame.

    Attributes:
        depth: (H, W) float32 mm, 0 = no depth value.
        camera: Its intrinsics, if they are known.
        unit: Unit of the stored values.
        note: Which frame of a file this is, or empty.
    """

    depth: np.ndarray
    camera: Camera | None
    unit: DepthUnit
    note: str = ""


def read_frame(
    path: Path, *, camera: Camera | None = None, unit: DepthUnit = "mm", topic: str | None = None
) -> SingleFrame:
    """Read a frame.

    Args:
        path: A depth file, or the path of a frame in a file with several frames or a recording: the file name, `#` and
            the number of the frame, from 0. Without a number, the first frame is read.
        camera: Intrinsics, instead of those of a recording.
        unit: Unit of the stored values, unless a recording contains it.
        topic: Topic of the depth images, if a ROS bag contains several.

    Raises:
        HandPoseError: The frame does not exist or cannot be read, or there is a topic for a file of another kind.
    """
    file = file_of(path)
    number = 0 if file == path else int(path.name.rpartition("#")[2])
    if is_recording(file) and file.exists():
        recording = open_recording(file, topic=topic, camera=camera, unit=unit)
        depth, camera, _, stored, _ = _nth(recording.read(), number, path).decode()
        return SingleFrame(depth, camera, "mm" if stored == 1.0 else stored, f"frame {number} of {recording.count()}")
    if topic is not None:
        raise HandPoseError(f"{path}: only ROS bags have topics; omit the topic")
    if (count := count_frames(file)) == 1:
        return SingleFrame(read_depth(path, unit), camera, unit)
    name, data, reason = _nth(split_frames(str(file), read_bytes(file, str(file))), number, path)
    if reason:
        raise DepthReadError(reason)
    return SingleFrame(decode_depth(data, name, unit), camera, unit, f"frame {number} of {count}")


def _nth(frames: Iterator[_Frame], number: int, path: Path) -> _Frame:
    frame = next(islice(frames, number, None), None)
    if frame is None:
        raise DepthReadError(f"{path}: the file has fewer frames")
    return frame
