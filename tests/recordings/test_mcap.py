from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import struct
import warnings
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from handpose import Camera, Distortion, HandPoseError, Recorder, SkippedFrameWarning
from handpose.io.depth.read import to_depth
from handpose.io.ros.mcap import McapWriter, read_chunks
from handpose.recordings.frame import DepthFrame
from handpose.recordings.open import open_recording, recorded_frames
from handpose.recordings.ros import open_ros
from tests.helpers.recordings import chunk_places

CAMERA = Camera(300.0, 301.0, 31.5, 23.5, 64, 48)
IMAGE = "/camera/depth/image_raw/compressedDepth"


def random_frames(unit: float, count: int = 3) -> list[DepthFrame]:
    rng = np.random.default_rng(0)
    stored = rng.integers(0, 65536, (count, 48, 64), dtype=np.uint16)
    return [DepthFrame(to_depth(image, unit), CAMERA, 1000.0 + i / 30, unit) for i, image in enumerate(stored)]


def record(path: Path, recorded: list[DepthFrame]) -> None:
    recorder = Recorder(path)
    for frame in recorded:
        recorder.write(frame)
    recorder.close()


def read(path: Path) -> list[DepthFrame]:
    return list(recorded_frames(open_recording(path)))


@pytest.mark.parametrize("unit", [1.0, 0.125, 0.25, 0.1, 1.0 / 3.0])
def test_replayed_frames_are_bitwise_identical(tmp_path: Path, unit: float) -> None:
    recorded = random_frames(unit)
    record(tmp_path / "a.mcap", recorded)
    recording = open_recording(tmp_path / "a.mcap")
    assert recording.count() == 3
    assert [stored.path.name for stored in recording.read()] == ["a.mcap#0", "a.mcap#1", "a.mcap#2"]
    for one, other in zip(recorded, recorded_frames(recording), strict=True):
        assert one.depth.tobytes() == other.depth.tobytes()
        assert other.depth.dtype == np.float32
        assert (one.camera, one.time, one.unit) == (other.camera, other.time, other.unit)


@pytest.mark.parametrize(
    "lens",
    [
        Distortion("brown_conrady", (0.1, -0.05, 0.001, 0.002, 0.01)),
        Distortion("brown_conrady", (0.1, -0.05, 0.001, 0.002, 0.01, 0.2, 0.03, 0.004)),
        Distortion("inverse_brown_conrady", (0.1, -0.05, 0.001, 0.002, 0.01)),
        Distortion("kannala_brandt", (0.1, -0.05, 0.001, 0.002)),
    ],
)
def test_the_distortion_is_recorded(tmp_path: Path, lens: Distortion) -> None:
    camera = dataclasses.replace(CAMERA, distortion=lens)
    record(tmp_path / "a.mcap", [random_frames(1.0, 1)[0]._replace(camera=camera)])
    (frame,) = read(tmp_path / "a.mcap")
    assert frame.camera == camera


def test_other_programs_read_the_file(tmp_path: Path) -> None:
    """The reference implementation of MCAP, which checks the structure and decodes the messages."""
    reader, decoder = pytest.importorskip("mcap.reader"), pytest.importorskip("mcap_ros2.decoder")
    recorded = random_frames(0.5, 2)
    record(tmp_path / "a.mcap", recorded)
    with (tmp_path / "a.mcap").open("rb") as file:
        found = list(reader.make_reader(file, decoder_factories=[decoder.DecoderFactory()]).iter_decoded_messages())
    messages = {topic: [one[3] for one in found if one[1].topic == topic] for topic in {one[1].topic for one in found}}
    assert [message.data for message in messages["/camera/depth/unit_mm"]] == [0.5, 0.5]
    assert [message.data for message in messages["/camera/depth/time_s"]] == [frame.time for frame in recorded]
    assert [one[2].log_time for one in found if one[1].topic == IMAGE] == [round(one.time * 1e9) for one in recorded]
    for frame, image, info in zip(recorded, messages[IMAGE], messages["/camera/depth/camera_info"], strict=True):
        assert image.format == "16UC1; compressedDepth png"
        stored = cv2.imdecode(np.frombuffer(image.data, np.uint8)[12:], cv2.IMREAD_UNCHANGED)
        assert np.array_equal(stored * 0.5, frame.depth)
        assert list(info.k) == [300.0, 0.0, 31.5, 0.0, 301.0, 23.5, 0.0, 0.0, 1.0]
        assert list(info.p) == [300.0, 0.0, 31.5, 0.0, 0.0, 301.0, 23.5, 0.0, 0.0, 0.0, 1.0, 0.0]
        assert (info.width, info.height) == (64, 48)
        for stamp in (image.header.stamp, info.header.stamp):
            assert stamp.sec + stamp.nanosec / 1e9 == pytest.approx(frame.time, abs=1e-9)
        assert image.header.frame_id == info.header.frame_id == "camera_depth_optical_frame"


def test_it_is_also_a_ros_bag(tmp_path: Path) -> None:
    """The reader of ROS bags is independent of this package's; it counts nanoseconds."""
    pytest.importorskip("rosbags")
    recorded = random_frames(0.125)
    record(tmp_path / "a.mcap", recorded)
    for one, other in zip(recorded, recorded_frames(open_ros(tmp_path / "a.mcap")), strict=True):
        assert one.depth.tobytes() == other.depth.tobytes()
        assert (one.camera, one.unit) == (other.camera, other.unit)
        assert other.time == pytest.approx(one.time, abs=1e-9)


def test_the_end_of_a_recording_that_another_program_has_cut_off_has_the_unit(tmp_path: Path) -> None:
    pytest.importorskip("rosbags")
    from rosbags.highlevel import AnyReader
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    recorded, store = random_frames(0.8), get_typestore(Stores.ROS2_HUMBLE)
    record(tmp_path / "a.mcap", recorded)
    with (
        AnyReader([tmp_path / "a.mcap"], default_typestore=store) as whole,
        Writer(tmp_path / "end", version=9, storage_plugin=StoragePlugin.MCAP) as end,
    ):
        topics = {one.topic: end.add_connection(one.topic, one.msgtype, typestore=store) for one in whole.connections}
        for connection, time, data in whole.messages(start=round(recorded[1].time * 1e9)):
            end.write(topics[connection.topic], time, data)
    assert [frame.unit for frame in read(tmp_path / "end")] == [0.8, 0.8]
    for one, other in zip(recorded[1:], read(tmp_path / "end"), strict=True):
        assert one.depth.tobytes() == other.depth.tobytes()


def test_a_truncated_file_yields_all_complete_frames(tmp_path: Path) -> None:
    record(tmp_path / "a.mcap", random_frames(1.0))
    data = (tmp_path / "a.mcap").read_bytes()
    ends = [place.stop for place in chunk_places(data)]
    assert len(ends) == 3
    first = struct.unpack_from("<Q", data, 9)[0] + 17
    for size in range(first, len(data), 97):
        (tmp_path / "truncated.mcap").write_bytes(data[:size])
        with pytest.warns(UserWarning, match="truncated.mcap: was not recorded or copied completely"):
            assert len(read(tmp_path / "truncated.mcap")) == sum(end <= size for end in ends)


def test_frames_are_written_before_the_file_is_closed(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a.mcap")
    assert not (tmp_path / "a.mcap").exists()
    for number, frame in enumerate(random_frames(1.0), 1):
        recorder.write(frame)
        with pytest.warns(UserWarning, match="was not recorded or copied completely"):
            assert len(read(tmp_path / "a.mcap")) == recorder.frames == number


def test_frames_that_cannot_be_stored_exactly_are_rejected(tmp_path: Path) -> None:
    good = random_frames(1.0, 1)[0]
    for depth in (good.depth + 0.5, np.full((48, 64), 70000.0, np.float32)):
        with pytest.raises(HandPoseError, match="multiples of 1 mm"):
            record(tmp_path / "a.mcap", [good._replace(depth=depth)])
    with pytest.raises(HandPoseError, match="frames of one camera"):
        record(tmp_path / "b.mcap", [good, good._replace(camera=Camera(310.0, 301.0, 31.5, 23.5))])
    with pytest.raises(HandPoseError, match="cannot be written"):
        record(tmp_path / "no" / "c.mcap", [good])
    with pytest.raises(HandPoseError, match=r"use a name that ends with \.mcap"):
        Recorder(tmp_path / "d.hpr")


@pytest.mark.parametrize("call", range(1, 9))
def test_a_recording_that_ctrl_c_ends_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    """An interrupt before or after any step of writing a frame leaves no damaged and no repeated frame."""
    steps = [(McapWriter, "add"), (McapWriter, "flush")]
    calls = itertools.count(1)

    def interrupted(step: Callable[..., None]) -> Callable[..., None]:
        def do(*arguments: Any) -> None:
            if next(calls) == call:
                raise KeyboardInterrupt
            step(*arguments)
            if next(calls) == call:
                raise KeyboardInterrupt

        return do

    recorder, recorded = Recorder(tmp_path / "a.mcap"), random_frames(1.0, 2)
    recorder.write(recorded[0])
    with monkeypatch.context() as patch:
        for kind, name in steps:
            patch.setattr(kind, name, interrupted(getattr(kind, name)))
        with pytest.raises(KeyboardInterrupt):
            recorder.write(recorded[1])
    recorder.close()
    recorder.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        times = [frame.time for frame in read(tmp_path / "a.mcap")]
    assert times in ([recorded[0].time], [frame.time for frame in recorded])


def test_an_interrupted_chunk_is_not_written_twice() -> None:
    class Interrupted(io.BytesIO):
        def flush(self) -> None:
            if is_interrupted:
                raise KeyboardInterrupt

    file, is_interrupted = Interrupted(), False
    writer = McapWriter(file, "test")
    for number in range(2):
        writer.add("/a", "std_msgs/msg/String", float(number), str(number).encode())
        is_interrupted = number == 1
        with contextlib.suppress(KeyboardInterrupt):
            writer.flush()
    is_interrupted = False
    writer.close()
    assert [chunk.messages for chunk in read_chunks(file)] == [{"/a": b"0"}, {"/a": b"1"}]


@pytest.mark.parametrize("time", [1.7e12, float("nan")])  # the former is in ms since 1970
def test_times_that_ros_cannot_store_are_rejected(tmp_path: Path, time: float) -> None:
    first, second = random_frames(1.0, 2)
    with closing(Recorder(tmp_path / "a.mcap")) as recorder:
        recorder.write(first)
        with pytest.raises(HandPoseError, match="times must be in seconds"):
            recorder.write(second._replace(time=time))
        recorder.write(second)
    assert [frame.time for frame in read(tmp_path / "a.mcap")] == [first.time, second.time]


def test_a_changed_byte_never_changes_a_frame(tmp_path: Path) -> None:
    """Whichever byte is wrong: frames are lost only with a warning or an error, and the others are unchanged."""
    path, camera = tmp_path / "a.mcap", dataclasses.replace(CAMERA, width=4, height=4)
    recorded = [frame._replace(depth=frame.depth[:4, :4], camera=camera) for frame in random_frames(0.25)]
    record(path, recorded)
    data = path.read_bytes()
    lost, inside = set(), {at for place in chunk_places(data) for at in place[40:]}
    for at in range(8, len(data), 4):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                frames = read(path)
            except HandPoseError:
                assert at not in inside, "a wrong checksum concerns only its own frame"
                continue
        if at in inside:
            assert len(frames) + len(caught) == 3
            lost.add(len(caught))
        assert len(frames) == 3 or caught
        for frame in frames:
            # If the name of the program is damaged, the file is read as any ROS bag, whose times are in whole ns.
            (truth,) = (one for one in recorded if abs(one.time - frame.time) < 1e-9)
            assert (frame.camera, frame.unit) == (truth.camera, truth.unit)
            assert frame.depth.tobytes() == truth.depth.tobytes()
    assert lost == {1, 3}  # one frame, or the topics of all of them


def test_damaged_frames_are_skipped_and_damaged_files_rejected(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    record(path, random_frames(1.0))
    data = path.read_bytes()
    image = data.rindex(b"IDAT")
    path.write_bytes(data[: image + 50] + bytes(9) + data[image + 59 :])
    with pytest.warns(SkippedFrameWarning, match=r"a\.mcap#2: the checksum of a PNG chunk is wrong"):
        assert len(read(path)) == 2
    image = data.index(b"IDAT")
    path.write_bytes(data[: image + 50] + bytes(9) + data[image + 59 :])
    with pytest.warns(SkippedFrameWarning, match=r"a\.mcap#0: the checksum of a PNG chunk is wrong"):
        assert len(read(path)) == 2
    path.write_bytes(data.replace(b"/camera/depth/unit_mm", b"/camera/depth/unit_cm"))
    with pytest.warns(SkippedFrameWarning, match=r"a\.mcap#\d: is damaged"):
        assert read(path) == []
    message = data.index(b"\x05", data.index(b"/camera/depth/unit_mm"))
    path.write_bytes(data[: message + 9] + b"\xff\xff" + data[message + 11 :])
    with pytest.warns(SkippedFrameWarning, match=r"a\.mcap#\d: is damaged"):
        assert read(path) == []
    chunk = data.index(b"\x06", data.index(b"handpose recording 1"))
    path.write_bytes(data[: chunk + 1] + b"\xff\xff\xff" + data[chunk + 4 :])
    with pytest.raises(HandPoseError, match="a record is damaged"):
        read(path)
