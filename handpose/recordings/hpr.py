"""Recordings: files with the raw depth values of a camera, readable up to the last complete frame.

A file starts with a line of JSON, `{"format": "handpose recording", "version": 1, "camera": {...}, "unit_mm": 1.0}`.
Each frame consists of its time in s (float64), the number of bytes that follow (uint32), and its height * width depth
values in units (uint16), row by row, compressed with zlib. All numbers are little-endian.
"""

from __future__ import annotations

import itertools
import json
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from handpose.errors import HandPoseError
from handpose.geometry.camera import Camera
from handpose.io.depth.limits import MAX_PIXELS
from handpose.io.depth.read import to_depth
from handpose.io.warn import warn_skipped
from handpose.recordings.frame import DepthFrame, Source

_FORMAT, _VERSION = "handpose recording", 1
_FRAME_HEADER = struct.Struct("<dI")
_MAX_HEADER_BYTES = 10_000


class Recorder:
    """Write frames to a file, which is created by the first frame.

    Attributes:
        path: The file.
        frames: Number of frames in the file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path, self.frames = Path(path), 0
        self._file: BinaryIO | None = None
        self._header = b""

    def write(self, frame: DepthFrame) -> None:
        """Append a frame. It is written immediately, so it is kept if the program is terminated.

        Raises:
            HandPoseError: The depth is not a multiple of the unit or exceeds 16 bits, the frame is from a different
                camera, or the file cannot be written.
        """
        stored = np.rint(frame.depth / np.float32(frame.unit)).clip(0, 65535).astype("<u2")
        if not np.array_equal(to_depth(stored, frame.unit), frame.depth):
            raise HandPoseError(
                f"a recording stores multiples of {frame.unit:g} mm, up to 65535; this frame contains other depth "
                "values, so it is not a camera's raw depth, or its unit is wrong"
            )
        camera = frame.camera.for_image(stored.shape[1], stored.shape[0])
        values = {"format": _FORMAT, "version": _VERSION, "camera": camera.to_dict(), "unit_mm": frame.unit}
        header = json.dumps(values).encode() + b"\n"
        try:
            if self._file is None:
                self._file, self._header = self.path.open("wb"), header
                self._file.write(header)
            if header != self._header:
                raise HandPoseError(
                    f"{self.path}: a recording contains the frames of one camera; this frame is from {camera}"
                )
            compressed = zlib.compress(stored.tobytes(), 1)
            self._file.write(_FRAME_HEADER.pack(frame.time, len(compressed)) + compressed)
            self._file.flush()
        except OSError as error:
            raise HandPoseError(f"{self.path}: cannot be written ({error})") from None
        self.frames += 1

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def frames(path: str | Path) -> Source:
    """Yield the frames of a recording, bitwise identical to the recorded ones.

    A truncated last frame, for example after a power failure, is skipped.

    Raises:
        HandPoseError: The file is not a recording.

    Warns:
        SkippedFrameWarning: A frame is damaged.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            camera, unit = _read_header(path, file.readline(_MAX_HEADER_BYTES))
            shape = int(camera.height), int(camera.width)
            for number in itertools.count(1):
                header = file.read(_FRAME_HEADER.size)
                if len(header) < _FRAME_HEADER.size:
                    return
                time, length = _FRAME_HEADER.unpack(header)
                compressed = file.read(length)
                if len(compressed) < length:
                    return
                try:
                    stored = _decompress(compressed, shape)
                except HandPoseError as error:
                    warn_skipped(f"{path}, frame {number}", error)
                else:
                    yield DepthFrame(to_depth(stored, unit), camera, time, unit)
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
        raise HandPoseError(f"{path}: not a recording; expected a file written by handpose live --record") from None
    if version != (_FORMAT, _VERSION):
        raise HandPoseError(
            f"{path}: is version {version[1]} of {version[0]}, but this version of handpose reads version {_VERSION}"
        )
    return camera, unit


def _decompress(compressed: bytes, shape: tuple[int, int]) -> np.ndarray:
    size = 2 * shape[0] * shape[1]
    try:
        stream = zlib.decompressobj()
        data = stream.decompress(compressed, size + 1)  # bounds memory for malicious files
    except zlib.error:
        data = b""
    if len(data) != size or not stream.eof:
        raise HandPoseError("the frame is damaged; copy the recording again")
    return np.frombuffer(data, "<u2").reshape(shape)
