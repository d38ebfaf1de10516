"""ROS bags, written by the packages of their makers: rosbags for ROS, pyrealsense2 for RealSense cameras."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from handpose import Camera, Distortion, HandPoseError
from handpose.errors import DepthReadError
from handpose.recordings.open import open_recording
from tests.helpers.recordings import LENS, frames, play_realsense, record_realsense

rosbags = pytest.importorskip("rosbags")
from rosbags.rosbag1 import Writer as Writer1  # noqa: E402
from rosbags.rosbag2 import StoragePlugin  # noqa: E402
from rosbags.rosbag2 import Writer as Writer2  # noqa: E402
from rosbags.typesys import Stores, get_typestore  # noqa: E402

IMAGES = np.random.default_rng(0).integers(0, 9000, (5, 240, 320), dtype=np.uint16)
TIMES = [1000.0 + number * 0.0335 for number in range(5)]
DEPTH, INFO = "/camera/depth/image_rect_raw", "/camera/depth/camera_info"


def test_a_realsense_recording_equals_its_playback_by_the_sdk(tmp_path: Path) -> None:
    rs = pytest.importorskip("pyrealsense2")
    record_realsense(rs, tmp_path / "a.db3", IMAGES, TIMES, camera=LENS)
    recording = open_recording(tmp_path / "a.db3")
    assert recording.count() == 5
    assert [stored.path.name for stored in recording.read()] == [f"a.db3#{number}" for number in range(5)]
    played = play_realsense(rs, tmp_path / "a.db3")
    for frame, image, seconds, truth in zip(frames(tmp_path / "a.db3"), IMAGES, TIMES, played, strict=True):
        values, unit, time, camera = truth
        assert np.array_equal(values, image)
        assert np.array_equal(frame.depth, image.astype(np.float32) * np.float32(0.125))
        assert frame.unit == unit == 0.125
        assert frame.time == time == pytest.approx(seconds)
        assert frame.camera == camera == LENS


class Bag:
    """Writes messages of ROS 1 or 2 to a file."""

    def __init__(self, path: Path, kind: str) -> None:
        self._ros2 = kind != ".bag"
        self.store = get_typestore(Stores.ROS2_HUMBLE if self._ros2 else Stores.ROS1_NOETIC)
        plugin = StoragePlugin.MCAP if kind == ".mcap" else StoragePlugin.SQLITE3
        self._writer = Writer2(path, version=9, storage_plugin=plugin) if self._ros2 else Writer1(path)
        self._topics: dict[str, Any] = {}

    def __enter__(self) -> Bag:
        self._writer.open()
        return self

    def __exit__(self, *error: object) -> None:
        self._writer.close()

    def type(self, name: str) -> Any:
        return self.store.types[name]

    def header(self, seconds: float, name: str = "depth") -> Any:
        sec, nanosec = divmod(round(seconds * 1e9), 10**9)
        stamp = self.type("builtin_interfaces/msg/Time")(sec, nanosec)
        number = () if self._ros2 else (0,)
        return self.type("std_msgs/msg/Header")(*number, stamp, name)

    def write(self, topic: str, kind: str, seconds: float, *values: Any) -> None:
        message = self.type(kind)(*values)
        if topic not in self._topics:
            self._topics[topic] = self._writer.add_connection(topic, kind, typestore=self.store)
        data = self.store.serialize_cdr(message, kind) if self._ros2 else self.store.serialize_ros1(message, kind)
        self._writer.write(self._topics[topic], round(seconds * 1e9), data)

    def image(self, topic: str, seconds: float, encoding: str, values: np.ndarray, padding: int = 0) -> None:
        """Write an image; each row is followed by `padding` values."""
        rows = np.pad(values, ((0, 0), (0, padding)))
        big = rows.dtype.byteorder == ">"
        data = rows.reshape(-1).view(np.uint8)
        height, width = values.shape[:2]
        fields = (self.header(seconds), height, width, encoding, int(big), data.size // height, data)
        self.write(topic, "sensor_msgs/msg/Image", seconds, *fields)

    def compressed(self, topic: str, seconds: float, format: str, values: np.ndarray, *, a: float = 0, b: float = 0):
        png = cv2.imencode(".png", values)[1]
        head = np.array([(0, a, b)], [("format", "<i4"), ("a", "<f4"), ("b", "<f4")]).view(np.uint8)
        data = np.concatenate([head, png.reshape(-1)])
        self.write(topic, "sensor_msgs/msg/CompressedImage", seconds, self.header(seconds), format, data)

    def info(
        self,
        topic: str,
        camera: Camera,
        d: tuple[float, ...] = (),
        p: tuple[float, ...] = (0.0,) * 12,
        window: tuple[int, int, int, int] = (0, 0, 0, 0),
    ) -> None:
        """Write intrinsics; `window` has the offsets (x, y), the height and the width of the region of interest."""
        k = np.array([camera.fx, 0, camera.cx, 0, camera.fy, camera.cy, 0, 0, 1.0])
        roi = self.type("sensor_msgs/msg/RegionOfInterest")(*window, False)
        fields = (int(camera.height), int(camera.width), "plumb_bob", np.array(d), k, np.eye(3).reshape(-1))
        kind = "sensor_msgs/msg/CameraInfo"
        self.write(topic, kind, TIMES[0], self.header(TIMES[0]), *fields, np.array(p), 0, 0, roi)


KINDS = (".bag", ".db3", ".mcap")


def write(path: Path, kind: str) -> tuple[Path, Bag]:
    """A bag, and where it will be: a file of ROS 1, or a folder of ROS 2."""
    path = path.with_suffix(kind) if kind == ".bag" else path
    return path, Bag(path, kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "encoding", ["16UC1", "mono16", "big-endian", "32FC1", "compressedDepth", "32FC1 compressedDepth"]
)
def test_every_encoding_in_every_format(tmp_path: Path, kind: str, encoding: str) -> None:
    path, bag = write(tmp_path / "a", kind)
    with bag:
        bag.info(INFO, LENS)
        for image, seconds in zip(IMAGES, TIMES, strict=True):
            if encoding == "32FC1":
                bag.image(
                    DEPTH, seconds, "32FC1", np.where(image > 100, image / np.float32(1000), np.nan).astype("<f4")
                )
            elif encoding == "compressedDepth":
                bag.compressed(f"{DEPTH}/compressedDepth", seconds, "16UC1; compressedDepth png", image)
            elif encoding == "32FC1 compressedDepth":
                inverse = np.where(image > 100, 40.0 / np.maximum(image / 1000.0, 0.1) + 3.0, 0.0).round()
                bag.compressed(
                    f"{DEPTH}/compressedDepth",
                    seconds,
                    "32FC1; compressedDepth",
                    inverse.astype(np.uint16),
                    a=40.0,
                    b=3.0,
                )
            elif encoding == "big-endian":
                bag.image(DEPTH, seconds, "16UC1", image.astype(">u2"))
            else:
                bag.image(DEPTH, seconds, encoding, image, padding=8)
    recording = open_recording(path)
    assert recording.count() == 5
    for frame, image, seconds in zip(frames(path), IMAGES, TIMES, strict=True):
        assert frame.time == pytest.approx(seconds, abs=1e-9)
        assert frame.camera == LENS
        assert frame.depth.dtype == np.float32
        expected = np.where(image > 100, image, 0) if encoding.startswith("32FC1") else image
        if encoding == "32FC1 compressedDepth":  # quantized: a step is z * z / 40 m
            assert np.array_equal(frame.depth > 0, expected > 0)
            assert (np.abs(frame.depth - expected) <= (expected / 1000.0) ** 2 / 40.0 * 1000.0).all()
        else:
            assert np.allclose(frame.depth, expected, atol=0.001)
            assert frame.unit == (1000.0 if encoding == "32FC1" else 1.0)
    for file in path.glob(f"*{kind}"):  # the file of a ROS 2 bag without its folder
        assert [frame.depth.tobytes() for frame in frames(file)] == [frame.depth.tobytes() for frame in frames(path)]


@pytest.mark.parametrize("compressed", [False, True])
def test_the_unit_of_floats_is_the_meter_and_another_one_is_not_ignored_without_a_word(
    tmp_path: Path, compressed: bool
) -> None:
    with Bag(tmp_path / "a", ".mcap") as bag:
        bag.info(INFO, LENS)
        if compressed:
            bag.compressed(f"{DEPTH}/compressedDepth", 1.0, "32FC1; compressedDepth", IMAGES[0], a=40.0, b=3.0)
        else:
            bag.image(DEPTH, 1.0, "32FC1", IMAGES[0].astype("<f4"))
    with pytest.warns(UserWarning, match=r"contains the unit of its depth values, so the unit 1\.0 is ignored"):
        open_recording(tmp_path / "a", unit=1.0)
    open_recording(tmp_path / "a", unit="m")


def test_the_topic_and_the_camera_must_be_clear(tmp_path: Path) -> None:
    other = Camera(200.0, 200.0, 160.0, 120.0, 320, 240)
    with Bag(tmp_path / "a", ".mcap") as bag:
        bag.info("/camera/color/camera_info", other)
        for topic in (DEPTH, "/second/depth/image"):
            bag.image(topic, 1.0, "16UC1", IMAGES[0])
        bag.image("/camera/color/image_raw", 1.0, "rgb8", np.zeros((240, 960), np.uint8))
        bag.compressed(f"{DEPTH}/compressedDepth", 1.0, "16UC1; compressedDepth", IMAGES[0])
        bag.info("/second/camera_info", LENS)
    with pytest.raises(
        HandPoseError, match=f"several topics of depth images.*{DEPTH}, {DEPTH}/comp.*, /second/depth/image"
    ):
        open_recording(tmp_path / "a")
    with pytest.raises(
        HandPoseError, match=f"no images on the topic /no; topics with images: /camera/color/image_raw, {DEPTH}"
    ):
        open_recording(tmp_path / "a", topic="/no")
    with pytest.raises(HandPoseError, match="contains no depth images"):
        open_recording(tmp_path / "a", topic="/camera/color/image_raw")
    with pytest.raises(HandPoseError, match=f"no camera_info for the topic {DEPTH}"):
        open_recording(tmp_path / "a", topic=DEPTH)
    for topic, camera, found in (("/second/depth/image", None, LENS), (DEPTH, other, other)):
        (stored,) = open_recording(tmp_path / "a", topic=topic, camera=camera, unit=0.5).read()
        frame = stored.decode()
        assert np.array_equal(frame.depth, IMAGES[0] * np.float32(0.5))
        assert frame.camera == found


def test_an_image_and_its_compressed_copy_are_one_stream(tmp_path: Path) -> None:
    with Bag(tmp_path / "a", ".db3") as bag:
        bag.info(INFO, LENS)
        bag.image(DEPTH, 1.0, "16UC1", IMAGES[0])
        bag.compressed(f"{DEPTH}/compressedDepth", 1.0, "16UC1; compressedDepth", IMAGES[1])
    (frame,) = frames(tmp_path / "a")
    assert np.array_equal(frame.depth, IMAGES[0])


@pytest.mark.parametrize("compressed", [False, True])
def test_rectified_images_have_the_camera_of_the_rectification(tmp_path: Path, compressed: bool) -> None:
    p = (250.0, 0.0, 150.0, 0.0, 0.0, 251.0, 110.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    with Bag(tmp_path / "a", ".db3") as bag:
        bag.info(INFO, LENS, d=(0.1, 0.0, 0.0, 0.0, 0.0), p=p)
        if compressed:
            bag.compressed(f"{DEPTH}/compressedDepth", 1.0, "16UC1; compressedDepth", IMAGES[0])
        else:
            bag.image(DEPTH, 1.0, "16UC1", IMAGES[0])
    (frame,) = frames(tmp_path / "a")
    assert frame.camera == Camera(250.0, 251.0, 150.0, 110.0, 320, 240)


def test_a_window_at_the_corner_of_the_image_is_not_a_smaller_image(tmp_path: Path) -> None:
    """A window of half the size shifts no pixel, so the intrinsics remain the same."""
    with Bag(tmp_path / "a", ".db3") as bag:
        bag.info(INFO, LENS, window=(0, 0, 120, 160))
        bag.image(DEPTH, 1.0, "16UC1", IMAGES[0][:120, :160])
    (frame,) = frames(tmp_path / "a")
    assert frame.camera == replace(LENS, width=160, height=120)


def test_the_distortion_of_raw_images_is_read(tmp_path: Path) -> None:
    with Bag(tmp_path / "a", ".db3") as bag:
        bag.info(INFO, LENS, d=(0.1, 0.0, 0.0, 0.0, 0.0))
        bag.image("/camera/depth/image_raw", 1.0, "16UC1", IMAGES[0])
    (frame,) = frames(tmp_path / "a")
    assert frame.camera == replace(LENS, distortion=Distortion("brown_conrady", (0.1, 0.0, 0.0, 0.0)))


def test_damaged_frames_are_named_and_do_not_affect_the_others(tmp_path: Path) -> None:
    with Bag(tmp_path / "a", ".db3") as bag:
        bag.info(INFO, LENS)
        bag.compressed(DEPTH, 1.0, "16UC1; compressedDepth", IMAGES[0])
        header = bag.header(2.0)
        for seconds, data in ((2.0, b"\0" * 5), (3.0, b"\0" * 40)):
            values = np.frombuffer(data, np.uint8)
            bag.write(DEPTH, "sensor_msgs/msg/CompressedImage", seconds, header, "16UC1; compressedDepth", values)
        bag.compressed(DEPTH, 4.0, "16UC1; compressedDepth rvl", IMAGES[0])
        bag.compressed(DEPTH, 5.0, "16UC1; compressedDepth", IMAGES[1])
    first, *bad, last = open_recording(tmp_path / "a").read()
    for number, (stored, message) in enumerate(zip(bad, ("truncated", "expected a PNG", "RVL"), strict=True), 1):
        with pytest.raises(DepthReadError, match=rf"a#{number}: .*{message}"):
            stored.decode()
    assert np.array_equal(first.decode().depth, IMAGES[0])
    assert np.array_equal(last.decode().depth, IMAGES[1])


def test_images_without_time_stamps_have_the_times_of_recording(tmp_path: Path) -> None:
    """Some drivers leave the stamps at 0, which would make all frames but the first one repetitions."""
    for name, stamps in (("unset", (0.0, 0.0, 0.0)), ("simulated", (0.0, 0.1, 0.2))):
        with Bag(tmp_path / name, ".mcap") as bag:
            bag.info(INFO, LENS)
            values = IMAGES[0].reshape(-1).view(np.uint8)
            for recorded, stamp in zip(TIMES, stamps, strict=False):
                fields = (bag.header(stamp), 240, 320, "16UC1", 0, 640, values)
                bag.write(DEPTH, "sensor_msgs/msg/Image", recorded, *fields)
    assert [frame.time for frame in frames(tmp_path / "unset")] == pytest.approx(TIMES[:3])
    assert [frame.time for frame in frames(tmp_path / "simulated")] == pytest.approx([0.0, 0.1, 0.2])


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_message_does_not_affect_the_others(tmp_path: Path, kind: str) -> None:
    path, bag = write(tmp_path / "a", kind)
    with bag:
        bag.info(INFO, LENS)
        for seconds, image in enumerate(IMAGES, 1):
            bag.image(DEPTH, seconds, "16UC1", image)
    file = path if kind == ".bag" else next(path.glob(f"*{kind}"))
    data = bytearray(file.read_bytes())
    pixels = [data.find(image.tobytes()[:64]) for image in IMAGES]
    for number in (0, 3):
        data[pixels[number] - 1] = 0x40  # the most significant byte of the size of the image
    data[data.rindex(b"16UC1", 0, pixels[2])] = ord("Z")
    file.write_bytes(data)
    stored = list(open_recording(path).read())
    assert len(stored) == len(IMAGES)
    for number, message in ((0, "is damaged"), (2, "expected the encoding 16UC1, .* got 'Z6UC1'"), (3, "is damaged")):
        with pytest.raises(DepthReadError, match=rf"#{number}: {message}"):
            stored[number].decode()
    for number in (1, 4):
        assert np.array_equal(stored[number].decode().depth, IMAGES[number])


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_bags_are_rejected_in_one_line(tmp_path: Path, kind: str) -> None:
    path, bag = write(tmp_path / "a", kind)
    with bag:
        bag.info(INFO, LENS)
        bag.image(DEPTH, 1.0, "16UC1", IMAGES[0])
    file = path if kind == ".bag" else next(path.glob(f"*{kind}"))
    data = file.read_bytes()
    for damaged in (b"", data[:100], data[: len(data) // 2], bytes(len(data))):
        file.write_bytes(damaged)
        with pytest.raises(HandPoseError, match="cannot be read as a ROS bag") as raised:
            list(frames(file))
        assert "\n" not in str(raised.value)


def test_an_image_that_does_not_fit_its_size_is_rejected(tmp_path: Path) -> None:
    with Bag(tmp_path / "a", ".mcap") as bag:
        bag.info(INFO, LENS)
        values = IMAGES[0].reshape(-1).view(np.uint8)
        for width, step in ((320, 600), (320, 641), (2_000_000_000, 640)):
            fields = (bag.header(1.0), 240, width, "16UC1", 0, step, values)
            bag.write(DEPTH, "sensor_msgs/msg/Image", 1.0, *fields)
    for stored in open_recording(tmp_path / "a").read():
        with pytest.raises(DepthReadError, match=r"a#\d: (expected 240 rows|the header declares)"):
            stored.decode()
