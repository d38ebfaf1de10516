"""A session in one file: the frames as the camera counted them, readable up to the last whole one.

The file is a line of JSON, `{"format": "handpose recording", "version": 1, "camera": {...}, "unit_mm": 1.0}`, and then
for each frame its time in s (float64), the number of bytes that follow (uint32), and its height * width depths in
units (uint16), row by row, compressed with zlib. All numbers are little-endian.
"""

from __future__ import annotations

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
from handpose.live.frame import DepthFrame, Source

_FORMAT, _VERSION = "handpose recording", 1
_HEAD = struct.Struct("<dI")
_LONGEST_LINE = 10_000  # bytes


class Recorder:
    """Writes frames to a file, which is made with the first of them.

    Attributes:
        path: the file.
        frames: how many are in it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path, self.frames = Path(path), 0
        self._file: BinaryIO | None = None
        self._header = b""

    def write(self, frame: DepthFrame) -> None:
        """Adds a frame. It is in the file from then on, whatever becomes of the program.

        Raises:
            HandPoseError: depth that is not in whole units of 16 bits, another camera's frame, or no place to write.
        """
        stored = np.rint(frame.depth / np.float32(frame.unit)).clip(0, 65535).astype("<u2")
        if not np.array_equal(to_depth(stored, frame.unit), frame.depth):
            raise HandPoseError(
                f"a recording holds whole units of {frame.unit:g} mm, 65535 at most; this frame has other depths, so "
                "it is not what a camera gave, or another unit was given than it was stored in"
            )
        camera = frame.camera.for_image(stored.shape[1], stored.shape[0])
        what = {"format": _FORMAT, "version": _VERSION, "camera": camera.to_dict(), "unit_mm": frame.unit}
        header = json.dumps(what).encode() + b"\n"
        try:
            if self._file is None:
                self._file, self._header = self.path.open("wb"), header
                self._file.write(header)
            if header != self._header:
                raise HandPoseError(f"{self.path}: a recording is of one camera; this frame is of {camera}")
            packed = zlib.compress(stored.tobytes(), 1)
            self._file.write(_HEAD.pack(frame.time, len(packed)) + packed)
            self._file.flush()
        except OSError as error:
            raise HandPoseError(f"{self.path}: cannot be written ({error})") from None
        self.frames += 1

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()


def frames(path: str | Path) -> Source:
    """The frames of a recording, equal bit by bit to those that were recorded.

    A last frame that was cut off, as by a lost device or power, is left out.

    Raises:
        HandPoseError: it is no recording, or is damaged within.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            camera, unit = _read_header(path, file.readline(_LONGEST_LINE))
            shape = int(camera.height), int(camera.width)
            while len(head := file.read(_HEAD.size)) == _HEAD.size:
                time, length = _HEAD.unpack(head)
                packed = file.read(length)
                if len(packed) < length:
                    return
                yield DepthFrame(to_depth(_unpacked(path, packed, shape), unit), camera, time, unit)
    except OSError as error:
        raise HandPoseError(f"{path}: cannot be read ({error})") from None


def _read_header(path: Path, line: bytes) -> tuple[Camera, float]:
    """The camera and the unit in mm."""
    try:
        header = json.loads(line)
        what = header["format"], header["version"]
        camera, unit = Camera.from_dict(header["camera"]), float(header["unit_mm"])
        if not 0 < camera.width * camera.height <= MAX_PIXELS:
            raise ValueError
    except (ValueError, KeyError, TypeError, HandPoseError):
        raise HandPoseError(f"{path}: not a recording; expected a file that handpose live --record wrote") from None
    if what != (_FORMAT, _VERSION):
        raise HandPoseError(f"{path}: is version {what[1]} of {what[0]}; this handpose reads version {_VERSION}")
    return camera, unit


def _unpacked(path: Path, packed: bytes, shape: tuple[int, int]) -> np.ndarray:
    size = 2 * shape[0] * shape[1]
    try:
        stream = zlib.decompressobj()
        data = stream.decompress(packed, size + 1)  # no more, whatever the file claims
    except zlib.error:
        data = b""
    if len(data) != size or not stream.eof:
        raise HandPoseError(f"{path}: a frame is damaged; copy the recording again")
    return np.frombuffer(data, "<u2").reshape(shape)
