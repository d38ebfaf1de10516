"""ROS 1 and ROS 2 bags, through `rosbags`; recordings of RealSense cameras are such bags.

RealSense's files differ from the conventions of ROS in three ways: a separate topic of the sensor contains the unit of
the 16-bit values, `.db3` files contain the capture times as text in a separate topic, and the images in `.bag` files
end with four extra bytes.
"""

from __future__ import annotations

import importlib
import re
import struct
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from handpose.errors import DepthReadError, HandPoseError
from handpose.geometry.camera import Camera
from handpose.io.depth.limits import check_size
from handpose.io.depth.png import read_png
from handpose.io.depth.read import to_depth
from handpose.io.depth.units import DepthUnit, millimeters_per_unit
from handpose.io.extras import require_extra
from handpose.io.inputs import frame_path
from handpose.io.warn import warn
from handpose.recordings.frame import DepthFrame
from handpose.recordings.recording import Recording, StoredFrame

_IMAGE, _COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
_ENCODINGS = {"16UC1": "u2", "mono16": "u2", "32FC1": "f4"}
_COMPRESSION_HEADER = struct.Struct("<iff")  # the format, and a, b of the inverse depth a / z + b
_COMPRESSED_COPY = "/compressedDepth"  # end of the topic of the compressed images of another topic
_METERS = 1000.0  # the unit of floating-point values in ROS
_TRAILING_BYTES = 4  # of RealSense's ROS 1 images


def open_ros(
    path: Path, *, topic: str | None = None, camera: Camera | None = None, unit: DepthUnit = "mm"
) -> Recording:
    """Open the depth images of a ROS 1 `.bag`, a ROS 2 `.db3` or `.mcap`, or the folder of a ROS 2 bag.

    Args:
        path: File or folder.
        topic: Topic of the depth images, if the bag contains several.
        camera: Intrinsics, instead of those of the bag.
        unit: Unit of 16-bit values if the bag does not contain it. ROS's convention is millimeters.

    Raises:
        HandPoseError: `rosbags` is not installed, the file is damaged, or it contains no depth images, several topics
            of them, or no intrinsics.
    """
    with _open_bag(path) as bag:
        stream = _depth_stream(bag, path, topic)
        stream = replace(
            stream,
            camera=camera or _find_camera(bag, stream, path),
            unit=_unit(path, _METERS if _is_float(stream.first) else _find_unit(bag, stream.topic), unit),
        )
        count = sum(connection.msgcount for connection in bag.connections if connection.topic == stream.topic)
    return Recording(path, lambda: count, lambda: _read(path, stream))


@dataclass(frozen=True)
class _Stream:
    """The depth images of a bag.

    Attributes:
        topic: Topic of the images.
        first: First message of the topic.
        camera: Intrinsics of the images.
        unit: Millimeters per stored integer.
    """

    topic: str
    first: Any
    camera: Camera | None = None
    unit: float = 1.0

    def decode(self, name: str, message: Any, time: float | None) -> DepthFrame:
        """Return the frame of a message from `_images`."""
        if isinstance(message, Exception):
            raise DepthReadError(f"{name}: is damaged ({str(message)[:200]})")
        stored, factor = _stored_values(name, message, self.unit)
        height, width = stored.shape
        assert self.camera is not None
        seconds = _seconds(message.header.stamp) if time is None else time
        return DepthFrame(to_depth(stored, factor), self.camera.for_image(width, height), seconds, factor)


@contextmanager
def _open_bag(path: Path) -> Iterator[Any]:
    require_extra("ros", f"{path}: reading a ROS bag")
    highlevel, typesys = (importlib.import_module(f"rosbags.{name}") for name in ("highlevel", "typesys"))
    store = typesys.get_typestore(typesys.Stores.ROS2_HUMBLE)
    try:
        with highlevel.AnyReader([path], default_typestore=store) as bag:
            yield bag
    except (HandPoseError, GeneratorExit):
        raise
    except Exception as error:  # rosbags, SQLite and the decompressors raise many exceptions for damaged files
        raise HandPoseError(
            f"{path}: cannot be read as a ROS bag ({str(error)[:200]}); if its recording was interrupted, repair it "
            "with `ros2 bag reindex`, `rosbag reindex` or `mcap recover`"
        ) from None


def _serialized(bag: Any, topic: str) -> Generator[tuple[str, int, Any], None, None]:
    """Yield the type, the time of recording in ns and the bytes of the messages of a topic."""
    connections = [connection for connection in bag.connections if connection.topic == topic]
    if connections:
        for connection, time, data in bag.messages(connections):
            yield connection.msgtype, time, data


def _messages(bag: Any, topic: str) -> Generator[tuple[int, Any], None, None]:
    """Yield the time of recording in ns and the content of the messages of a topic."""
    for kind, time, data in _serialized(bag, topic):
        yield time, _deserialize(bag, data, kind)


def _images(bag: Any, topic: str) -> Generator[tuple[int, Any], None, None]:
    """Yield the time of recording in ns and the content of the images of a topic; the error for a damaged one."""
    for kind, time, data in _serialized(bag, topic):
        try:
            message = _deserialize(bag, data, kind)
        except Exception as error:  # rosbags raises many exceptions
            message = error
        yield time, message


def _deserialize(bag: Any, data: Any, kind: str) -> Any:
    try:
        return bag.deserialize(data, kind)
    except Exception:
        if bag.is2 or kind != _IMAGE:
            raise
        return bag.deserialize(data[:-_TRAILING_BYTES], kind)


def _first(bag: Any, topic: str) -> Any:
    return next((message for _, message in _messages(bag, topic)), None)


def _first_image(bag: Any, topic: str) -> Any:
    """Return the first image of a topic that is not damaged."""
    image = None
    for _, image in _images(bag, topic):
        if not isinstance(image, Exception):
            return image
    raise image or ValueError(f"no image on the topic {topic}")


def _depth_stream(bag: Any, path: Path, topic: str | None) -> _Stream:
    """Return the stream of the given topic, or of the only topic with depth images."""
    topics = {one.topic for one in bag.connections if one.msgtype in (_IMAGE, _COMPRESSED) and one.msgcount}
    if topic is not None and topic not in topics:
        raise HandPoseError(f"{path}: contains no images on the topic {topic}; topics with images: {_list(topics)}")
    streams = [_Stream(name, _first_image(bag, name)) for name in sorted(topics if topic is None else {topic})]
    streams = [stream for stream in streams if _is_depth(stream.first)]
    names = {stream.topic for stream in streams}
    # An image and its compressed copy are the same stream.
    streams = [
        stream for stream in streams if stream.topic.removesuffix(_COMPRESSED_COPY) not in names - {stream.topic}
    ]
    if not streams:
        raise HandPoseError(
            f"{path}: contains no depth images ({', '.join(_ENCODINGS)} or compressedDepth); topics with images: "
            f"{_list(topics)}"
        )
    if len(streams) > 1:
        raise HandPoseError(
            f"{path}: contains several topics of depth images, pass one with `topic=...`: {_list(names)}"
        )
    return streams[0]


def _is_depth(message: Any) -> bool:
    if hasattr(message, "encoding"):
        return message.encoding in _ENCODINGS
    return "compressedDepth" in message.format


def _is_float(message: Any) -> bool:
    return bool(message.encoding == "32FC1" if hasattr(message, "encoding") else message.format.startswith("32FC1"))


def _list(topics: set[str]) -> str:
    return ", ".join(sorted(topics)) or "none"


def _find_camera(bag: Any, stream: _Stream, path: Path) -> Camera:
    """Return the intrinsics of the nearest `camera_info` topic above the images' topic."""
    infos = {one.topic for one in bag.connections if one.msgtype == "sensor_msgs/msg/CameraInfo" and one.msgcount}
    parts = stream.topic.removesuffix(_COMPRESSED_COPY).split("/")
    for end in range(len(parts), 1, -1):
        for name in ("camera_info", "info/camera_info"):
            topic = "/".join([*parts[:end], name])
            if topic in infos:
                return _camera(_first(bag, topic), topic, path, rectified="rect" in parts[-1])
    raise HandPoseError(
        f"{path}: contains no camera_info for the topic {stream.topic} (topics: {_list(infos)}); pass the camera's "
        "intrinsics with `camera=...`"
    )


def _camera(info: Any, topic: str, path: Path, *, rectified: bool) -> Camera:
    """Convert a `CameraInfo`; its fields have capital letters in ROS 1."""
    k, d, p = (np.array(getattr(info, name if hasattr(info, name) else name.upper())) for name in "kdp")
    if info.roi.x_offset or info.roi.y_offset:
        raise HandPoseError(f"{path}: the images are cropped; pass the intrinsics of the crop with `camera=...`")
    # A window without offsets does not change the intrinsics, but the size that they apply to.
    width, height = info.roi.width or info.width, info.roi.height or info.height
    values = {"width": width, "height": height}
    if rectified and np.any(d):
        values |= {"fx": p[0], "fy": p[5], "cx": p[2], "cy": p[6]}
    else:
        values |= {"K": k.reshape(3, 3).tolist(), "D": d.tolist(), "distortion_model": info.distortion_model}
    try:
        return Camera.of(values)
    except HandPoseError as error:
        raise HandPoseError(f"{path}: {topic}: {error}; pass the intrinsics with `camera=...`") from None


def _unit(path: Path, stored: float | None, given: DepthUnit) -> float:
    """Return the unit in mm: the stored one, otherwise the given one."""
    if stored is not None and given != "mm" and millimeters_per_unit(given) != stored:
        warn(f"{path}: contains the unit of its depth values, so the unit {given} is ignored")
    return stored or millimeters_per_unit(given)


def _find_unit(bag: Any, topic: str) -> float | None:
    """Return the unit in mm that a recording of a RealSense camera or of this package contains for a topic."""
    sensor = re.match(r"/device_\d+/sensor_\d+/", topic)
    if sensor is not None:
        meters = _first(bag, f"{sensor[0]}option/Depth_Units/value")
        return None if meters is None else round(1000.0 * float(meters.data), 6)  # in single precision
    millimeters = _first(bag, topic.partition("/image_raw")[0] + "/unit_mm")
    return None if millimeters is None else float(millimeters.data)


def _read(path: Path, stream: _Stream) -> Iterator[StoredFrame]:
    with _open_bag(path) as bag:
        times, images = _text_times(bag, stream.topic), _images(bag, stream.topic)
        start = list(islice(images, 2))
        stamps = [_seconds(image.header.stamp) for _, image in start if not isinstance(image, Exception)]
        is_stamped = len(stamps) < 2 or any(stamps)  # some drivers leave all stamps at 0; the first one may be there
        for number, (recorded, message) in enumerate(chain(start, images)):
            frame, time = frame_path(path, number), times.get(recorded) if is_stamped else recorded / 1e9
            yield StoredFrame(frame, partial(stream.decode, str(frame), message, time))


def _seconds(stamp: Any) -> float:
    return float(stamp.sec + stamp.nanosec / 1e9)


def _text_times(bag: Any, topic: str) -> dict[int, float]:
    """Return the capture times in s by the times of recording in ns, if the bag is a `.db3` file of RealSense."""
    metadata = f"{topic.partition('/image/')[0]}/image/metadata"
    times: dict[int, float] = {}
    for recorded, message in _messages(bag, metadata):
        found = re.search(r"(?:^|;)timestamp=([\d.]+)", getattr(message, "data", ""))
        if found:
            times[recorded] = float(found[1]) / 1000.0
    return times


def _stored_values(name: str, message: Any, unit: float) -> tuple[np.ndarray, float]:
    """Return the values (H, W) of an image and their unit in mm."""
    if hasattr(message, "encoding"):
        return _image(name, message), _METERS if message.encoding == "32FC1" else unit
    if "rvl" in message.format.lower():
        raise DepthReadError(f"{name}: is compressed with RVL; only PNG is supported")
    data = message.data.tobytes()
    if len(data) < _COMPRESSION_HEADER.size:
        raise DepthReadError(f"{name}: the compressed image is truncated")
    _, a, b = _COMPRESSION_HEADER.unpack_from(data)
    stored = read_png(name, data[_COMPRESSION_HEADER.size :], coding=None)
    if not message.format.startswith("32FC1"):
        return stored, unit
    with np.errstate(divide="ignore", invalid="ignore"):  # the inverse of the depth in m was quantized
        return np.where(stored > 0, a / (stored - b), 0.0), _METERS


def _image(name: str, message: Any) -> np.ndarray:
    height, width, step = message.height, message.width, message.step
    if message.encoding not in _ENCODINGS:
        raise DepthReadError(f"{name}: expected the encoding {', '.join(_ENCODINGS)}, got {message.encoding!r:.40}")
    check_size(name, height, width)
    kind = np.dtype((">" if message.is_bigendian else "<") + _ENCODINGS[message.encoding])
    if step < width * kind.itemsize or step % kind.itemsize or len(message.data) != height * step:
        raise DepthReadError(
            f"{name}: expected {height} rows of {step} bytes for {width} values, got {len(message.data)} bytes"
        )
    rows: np.ndarray = np.frombuffer(message.data, kind).reshape(height, step // kind.itemsize)
    return rows[:, :width]
