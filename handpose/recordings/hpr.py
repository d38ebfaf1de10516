"""Recordings of earlier versions of the package (`.hpr`), readable up to the last complete frame.

A file starts with a line of JSON, `{"format": "handpose recording", "version": 1, "camera": {...}, "unit_mm": 1.0}`.
Each frame consists of its time in s (float64), the number of bytes that follow (uint32), and its height * width depth
values in units (uint16), row by row, compressed with zlib. All numbers are little-endian.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from handpose.errors import DepthReadError, HandPoseError
from handpose.geometry.camera import Camera
from handpose.io.depth.limits import MAX_PIXELS
from handpose.io.depth.read import to_depth
from handpose.io.inputs import RECORDINGS, frame_path
from handpose.recordings.frame import DepthFrame
from handpose.recordings.recording import Recording, StoredFrame, warn_incomplete

_FORMAT, _VERSION = "handpose recording", 1
_FRAME_HEADER = struct.Struct("<dI")
_MAX_HEADER_BYTES = 10_000


def open_hpr(path: Path, camera: Camera | None = None) -> Recording:
    """Open a recording. Its frames are bitwise identical to the recorded ones.

    A truncated last frame, for example after a power failure, is skipped with a warning.

    Args:
        path: The file.
        camera: Intrinsics, instead of those of the file.
    """
    return Recording(path, lambda: sum(1 for _ in _read(path, None)), lambda: _read(path, camera))


def _read(path: Path, other: Camera | None) -> Iterator[StoredFrame]:
    try:
        with path.open("rb") as file:
            camera, unit = _read_header(path, file.readline(_MAX_HEADER_BYTES))
            shape, number = (int(camera.height), int(camera.width)), 0
            while len(header := file.read(_FRAME_HEADER.size)) == _FRAME_HEADER.size:
                time, length = _FRAME_HEADER.unpack(header)
                compressed = file.read(length)
                if len(compressed) < length:
                    break
                name = frame_path(path, number)
                yield StoredFrame(name, partial(_decode, str(name), compressed, shape, other or camera, unit, time))
                number += 1
            if header:
                warn_incomplete(path)
    except OSError as error:
        raise HandPoseError(f"{path}: cannot be read ({error})") from None


def _read_header(path: Path, line: bytes) -> tuple[Camera, float]:
    """Return the camera and the unit in mm."""
    try:
        header = json.loads(line)
        version = header["format"], header["version"]
        camera, unit = Camera.from_dict(header["camera"]), float(header["unit_mm"])
        if not 0 < camera.width * camera.height <= MAX_PIXELS:
            raise ValueError
    except (ValueError, KeyError, TypeError, HandPoseError):
        raise HandPoseError(f"{path}: not a recording; expected one of {', '.join(RECORDINGS)}") from None
    if version != (_FORMAT, _VERSION):
        raise HandPoseError(
            f"{path}: is version {version[1]} of {version[0]}, but this version of handpose reads version {_VERSION}"
        )
    return camera, unit


def _decode(
    name: str, compressed: bytes, shape: tuple[int, int], camera: Camera, unit: float, time: float
) -> DepthFrame:
    size = 2 * shape[0] * shape[1]
    try:
        stream = zlib.decompressobj()
        data = stream.decompress(compressed, size + 1)  # bounds memory for malicious files
    except zlib.error:
        data = b""
    if len(data) != size or not stream.eof:
        raise DepthReadError(f"{name}: is damaged; copy the recording again")
    stored = np.frombuffer(data, "<u2").reshape(shape)
    return DepthFrame(to_depth(stored, unit), camera.for_image(shape[1], shape[0]), time, unit)
