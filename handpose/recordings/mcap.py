"""The package's own recordings: MCAP files with the raw depth values of a camera, readable up to the last frame.

The messages of a frame are one chunk of the file, and its image is the last message. The exact time and the unit have
separate topics, because ROS rounds time stamps to nanoseconds and does not define a unit.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np

from handpose.errors import DepthReadError, HandPoseError
from handpose.geometry.camera import Camera
from handpose.geometry.distortion import Distortion
from handpose.geometry.lens_names import lens_model, ros_name
from handpose.io.depth.png import read_png
from handpose.io.depth.read import to_depth
from handpose.io.inputs import frame_path
from handpose.io.outputs import refuse_existing, writing
from handpose.io.ros.cdr import CdrReader, CdrWriter
from handpose.io.ros.mcap import McapChunk, McapWriter, read_chunks, read_library
from handpose.io.ros.messages import CAMERA_FRAME
from handpose.recordings.frame import DepthFrame
from handpose.recordings.recording import Recording, StoredFrame, warn_incomplete

_LIBRARY = "handpose recording 1"
_IMAGE, _INFO = "/camera/depth/image_raw/compressedDepth", "/camera/depth/camera_info"
_TIME, _UNIT = "/camera/depth/time_s", "/camera/depth/unit_mm"
_NO_DISTORTION = Distortion("brown_conrady", (0.0,) * 5)
_COMPRESSION_HEADER = struct.pack("<iff", 0, 0.0, 0.0)
_PNG_OPTIONS = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)


class Recorder:
    """Writes frames to an MCAP file, which is created by the first frame.

    Attributes:
        path: The file.
        frames: Number of frames in the file.

    Args:
        path: The file.
        force: Whether an existing file may be overwritten.

    Raises:
        HandPoseError: The extension of the file is not `.mcap`, or the file exists.
    """

    def __init__(self, path: str | Path, *, force: bool = False) -> None:
        refuse_existing(path, force=force)
        self.path, self.frames = Path(path), 0
        if self.path.suffix.lower() != ".mcap":
            raise HandPoseError(f"{path}: recordings are MCAP files; use a name that ends with .mcap")
        self._file: BinaryIO | None = None
        self._writer: McapWriter | None = None
        self._first: DepthFrame | None = None

    def write(self, frame: DepthFrame) -> None:
        """Append a frame. It is written immediately, so it is kept if the program is terminated.

        Raises:
            HandPoseError: The depth is not a multiple of the unit or exceeds 16 bits, the time is not in seconds, the
                frame is from a different camera, or the file cannot be written.
        """
        stored = np.rint(frame.depth / np.float32(frame.unit)).clip(0, 65535).astype(np.uint16)
        if not np.array_equal(to_depth(stored, frame.unit), frame.depth):
            raise HandPoseError(
                f"a recording stores multiples of {frame.unit:g} mm, up to 65535; this frame contains other depth "
                "values, so it is not a camera's raw depth, or its unit is wrong"
            )
        frame = frame._replace(camera=frame.camera.for_image(stored.shape[1], stored.shape[0]))
        self._first = self._first or frame
        if (frame.camera, frame.unit) != (self._first.camera, self._first.unit):
            raise HandPoseError(
                f"{self.path}: a recording contains the frames of one camera; this frame is from {frame.camera}"
            )
        image = CdrWriter().header(frame.time, CAMERA_FRAME).text("16UC1; compressedDepth png")
        image.octets(_COMPRESSION_HEADER + cv2.imencode(".png", stored, _PNG_OPTIONS)[1].tobytes())
        with writing(self.path):
            if self._writer is None or self._file is None:
                self._file = self.path.open("wb")
                self._writer = McapWriter(self._file, _LIBRARY)
            self._number(_UNIT, frame.time, frame.unit)  # with every frame, because other programs cut recordings
            self._writer.add(_INFO, "sensor_msgs/msg/CameraInfo", frame.time, _camera_info(frame))
            self._number(_TIME, frame.time, frame.time)
            self._writer.add(_IMAGE, "sensor_msgs/msg/CompressedImage", frame.time, image.message())
            self._writer.flush()
        self.frames += 1

    def _number(self, topic: str, time: float, value: float) -> None:
        assert self._writer is not None
        self._writer.add(topic, "std_msgs/msg/Float64", time, CdrWriter().numbers("d", value).message())

    def close(self) -> None:
        """Complete the file. A second call has no effect.

        Raises:
            HandPoseError: The file cannot be written.
        """
        if self._file is None or self._writer is None or self._file.closed:
            return
        with writing(self.path), self._file:
            self._writer.close()


def is_own(path: Path) -> bool:
    """Return whether a file was written by `Recorder`.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        return read_library(file) == _LIBRARY


def open_own(path: Path, camera: Camera | None = None) -> Recording:
    """Open a recording that `Recorder` has written. Its frames are bitwise identical to the recorded ones.

    Args:
        path: The file.
        camera: Intrinsics, instead of those of the file.
    """
    return Recording(path, partial(_count_frames, path), partial(_read, path, camera))


def _count_frames(path: Path) -> int:
    return sum(1 for _ in _chunks(path))


def _chunks(path: Path) -> Iterator[McapChunk]:
    try:
        with path.open("rb") as file:
            is_complete = yield from read_chunks(file)
    except (OSError, ValueError) as error:
        raise HandPoseError(f"{path}: cannot be read ({error})") from None
    if not is_complete:
        warn_incomplete(path)


def _read(path: Path, camera: Camera | None) -> Iterator[StoredFrame]:
    are_topics_intact = True
    for number, chunk in enumerate(_chunks(path)):
        name, is_intact = frame_path(path, number), chunk.is_intact and are_topics_intact
        yield StoredFrame(name, partial(_decode, str(name), chunk.messages, camera, is_intact=is_intact))
        if number == 0:  # the only one that defines the topics; a damaged image explains its wrong checksum
            are_topics_intact = chunk.is_intact or _is_damaged(chunk.messages.get(_IMAGE, b""))


def _decode(name: str, messages: dict[str, bytes], camera: Camera | None, *, is_intact: bool) -> DepthFrame:
    try:
        (unit,), (time,) = (CdrReader(messages[topic]).numbers("d", 1) for topic in (_UNIT, _TIME))
        camera = camera or _camera(CdrReader(messages[_INFO]))
        data = _png(messages[_IMAGE])
    except (KeyError, ValueError, HandPoseError) as error:
        raise DepthReadError(f"{name}: is damaged ({error}); copy the recording again") from None
    stored = read_png(name, data, coding=None)
    if not is_intact:
        raise DepthReadError(f"{name}: is damaged (its checksum is wrong); copy the recording again")
    depth = to_depth(stored, unit)
    return DepthFrame(depth, camera.for_image(depth.shape[1], depth.shape[0]), time, unit)


def _png(message: bytes) -> bytes:
    """Return the PNG in the message of an image."""
    image = CdrReader(message)
    image.numbers("I", 2)
    image.text(), image.text()
    return image.octets()[len(_COMPRESSION_HEADER) :].tobytes()


def _is_damaged(message: bytes) -> bool:
    """Return whether the PNG in the message of an image is damaged."""
    try:
        read_png("", _png(message), coding=None)
    except (ValueError, DepthReadError):
        return True
    return False


def _camera_info(frame: DepthFrame) -> bytes:
    camera = frame.camera
    k = (camera.fx, 0.0, camera.cx, 0.0, camera.fy, camera.cy, 0.0, 0.0, 1.0)
    message = CdrWriter().header(frame.time, CAMERA_FRAME).numbers("I", int(camera.height), int(camera.width))
    lens = camera.distortion or _NO_DISTORTION
    message.text(ros_name(lens)).numbers("I", len(lens.coefficients)).numbers("d", *lens.coefficients)
    message.numbers("d", *k)
    message.numbers("d", 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0).numbers(
        "d", *k[:3], 0.0, *k[3:6], 0.0, *k[6:], 0.0
    )
    return message.numbers("I", *[0] * 6).numbers("B", 0).message()


def _camera(message: CdrReader) -> Camera:
    message.numbers("I", 2)
    message.text()
    height, width = message.numbers("I", 2)
    name = message.text()
    model = lens_model(name)
    if model is None or model == "none":
        raise ValueError(f"unknown lens model {name}")
    lens = Distortion(model, message.numbers("d", int(message.numbers("I", 1)[0])))
    fx, _, cx, _, fy, cy = message.numbers("d", 6)
    return Camera(fx, fy, cx, cy, width, height, lens if any(lens.coefficients) else None)
