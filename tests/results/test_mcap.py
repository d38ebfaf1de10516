"""MCAP files of hands, read by the reference implementation of MCAP and by Rerun."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from handpose import Camera, HandPose
from handpose.geometry.layouts import MSRA21
from handpose.io.choices import Hand
from handpose.io.ros.messages import definition
from handpose.results.mcap import HandMcapWriter, mcap_bytes
from handpose.results.records import FailedFrame

CAMERA = Camera(210.0, 210.0, 111.5, 85.5, 224, 172)
JOINTS = np.random.default_rng(0).uniform((-50, -50, 400), (50, 50, 500), (2, 21, 3))
POSES = [
    HandPose(xyz, CAMERA.project(xyz), xyz / 100, xyz[:, 0] / 100, MSRA21, "ok", hand, xyz[0], 250.0, CAMERA)
    for xyz, hand in zip(JOINTS, get_args(Hand), strict=True)
]


def decoded(path: Path) -> dict[str, list[tuple[int, Any]]]:
    """The times in ns and messages of each topic."""
    reader, decoder = pytest.importorskip("mcap.reader"), pytest.importorskip("mcap_ros2.decoder")
    topics: dict[str, list[tuple[int, Any]]] = {}
    with path.open("rb") as file:
        indexed = reader.make_reader(file, validate_crcs=True, decoder_factories=[decoder.DecoderFactory()])
        for _, channel, message, content in indexed.iter_decoded_messages():
            topics.setdefault(channel.topic, []).append((message.log_time, content))
        assert indexed.get_summary().statistics.message_count == sum(map(len, topics.values()))
    return topics


def position(point: Any) -> list[float]:
    return [1000.0 * value for value in (point.x, point.y, point.z)]


def write(path: Path) -> None:
    with path.open("wb") as file:
        writer = HandMcapWriter(file)
        writer.write(12.5, [(0, POSES[0]), (3, POSES[1])])
        writer.write(12.75, [])
        writer.write(13.0, [(3, POSES[0])])
        writer.finish()


def test_joints_are_coordinate_frames_and_poses_in_meters(tmp_path: Path) -> None:
    write(tmp_path / "a.mcap")
    topics = decoded(tmp_path / "a.mcap")
    assert [time for time, _ in topics["/tf"]] == [12_500_000_000, 13_000_000_000]
    both, one = (message.transforms for _, message in topics["/tf"])
    assert [transform.child_frame_id for transform in both] == [
        f"hand_{number}/{joint}" for number in (0, 3) for joint in MSRA21.joints
    ]
    assert np.allclose([position(each.transform.translation) for each in both], JOINTS.reshape(-1, 3))
    assert np.allclose([position(each.transform.translation) for each in one], JOINTS[0])
    for each in both:
        assert each.header.frame_id == "camera_depth_optical_frame"
        assert (each.header.stamp.sec, each.header.stamp.nanosec) == (12, 500_000_000)
        rotation = each.transform.rotation
        if each.child_frame_id.endswith("wrist"):
            axes = POSES[each.child_frame_id == "hand_3/wrist"].wrist()[:3, :3]
            vector = np.array([rotation.x, rotation.y, rotation.z])
            for unit, axis in zip(np.eye(3), axes.T, strict=True):
                turned = unit + 2 * np.cross(vector, np.cross(vector, unit) + rotation.w * unit)
                assert np.allclose(turned, axis)
        else:
            assert rotation.w == 1.0
    (_, first), (_, second) = topics["/hand_3"]
    assert np.allclose([position(pose.position) for pose in first.poses], JOINTS[1])
    assert np.allclose([position(pose.position) for pose in second.poses], JOINTS[0])
    for number in (0, 3):
        ((_, names),) = topics[f"/hand_{number}/joint_names"]
        assert json.loads(names.data) == list(MSRA21.joints)
    # Hand 3 is first the left hand POSES[1], then the right hand POSES[0].
    assert {number: [text.data for _, text in topics[f"/hand_{number}/side"]] for number in (0, 3)} == {
        0: ["right"],
        3: ["left", "right"],
    }


def test_frames_are_complete_before_the_file_is(tmp_path: Path) -> None:
    """What a crash leaves behind: the reference implementation reads the messages in their order."""
    stream, exceptions = pytest.importorskip("mcap.stream_reader"), pytest.importorskip("mcap.exceptions")
    with (tmp_path / "a.mcap").open("wb") as file:
        writer = HandMcapWriter(file)
        for number in range(3):
            writer.write(float(number), [(0, POSES[0])])
            found = []
            with (tmp_path / "a.mcap").open("rb") as unfinished, contextlib.suppress(exceptions.EndOfFile):
                found.extend(type(record).__name__ for record in stream.StreamReader(unfinished).records)
            assert found.count("Message") == 2 * (number + 1) + 2


def test_records_of_a_job_become_one_file(tmp_path: Path) -> None:
    no_hand = HandPose.no_hand(MSRA21, hand="right", cube=250.0, camera=CAMERA)
    records = [
        replace(POSES[0], source="a#0", time=7.0),
        replace(POSES[1], source="a#0", time=7.0, hand_index=1),
        FailedFrame("a#1", "damaged", MSRA21),
        replace(POSES[0], source="b.png"),
        replace(no_hand, source="c.png"),
    ]
    with pytest.warns(UserWarning, match="the times of the frames do not increase"):  # 7 s and 1/15 s
        (tmp_path / "a.mcap").write_bytes(mcap_bytes(records))
    topics = decoded(tmp_path / "a.mcap")
    assert [(time, len(message.transforms)) for time, message in topics["/tf"]] == [(66_666_667, 21), (7 * 10**9, 42)]
    own = {f"/hand_{number}{topic}" for number in (0, 1) for topic in ("", "/joint_names", "/side")}
    assert topics.keys() == {"/tf", *own}


@pytest.mark.parametrize(
    "kind",
    [
        *("tf2_msgs/msg/TFMessage", "geometry_msgs/msg/PoseArray", "std_msgs/msg/String", "std_msgs/msg/Float64"),
        *("sensor_msgs/msg/CompressedImage", "sensor_msgs/msg/CameraInfo"),
    ],
)
def test_definitions_are_those_of_ros(kind: str) -> None:
    """Types with equal hashes are the same for ROS."""
    pytest.importorskip("rosbags")
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    ours, ros = get_typestore(Stores.EMPTY), get_typestore(Stores.ROS2_HUMBLE)
    ours.register(get_types_from_msg(definition(kind), kind))
    assert ours.hash_rihs01(kind) == ros.hash_rihs01(kind)


def test_rerun_converts_the_file(tmp_path: Path) -> None:
    chunk = pytest.importorskip("rerun.chunk")
    write(tmp_path / "a.mcap")
    rerun = Path(sys.executable).with_name("rerun")
    command = [rerun, "mcap", "convert", tmp_path / "a.mcap", "-o", tmp_path / "a.rrd"]
    subprocess.run(command, check=True, capture_output=True)
    frames, points = [], []
    for part in chunk.RrdReader(tmp_path / "a.rrd").stream():
        batch = part.to_record_batch()
        if part.entity_path == "/tf" and "Transform3D:translation" in batch.schema.names:
            frames += [name for row in batch["Transform3D:child_frame"].to_pylist() for name in row]
            points += [point for row in batch["Transform3D:translation"].to_pylist() for point in row]
    assert sorted(frames) == sorted(f"hand_{number}/{joint}" for number in (0, 3, 3) for joint in MSRA21.joints)
    expected = dict(zip((f"hand_0/{joint}" for joint in MSRA21.joints), JOINTS[0], strict=True))
    for name, point in zip(frames, points, strict=True):
        if name in expected:
            assert np.allclose(np.multiply(point, 1000.0), expected[name], atol=0.001)
