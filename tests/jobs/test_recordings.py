"""`handpose predict` with recordings."""

from __future__ import annotations

import json
from contextlib import closing
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from handpose import Camera, Recorder
from handpose.cli.main import app
from tests.helpers.paths import EXAMPLES, REALSENSE_BAG
from tests.helpers.recordings import bag_images, chunk_places, frames, play_realsense, record_realsense

CAMERA = "210,210,111.5,85.5,224,172"
TIMES = [1000.0 + number / 30 for number in range(3)]


def predict(*arguments: object) -> tuple[int, list[dict]]:
    done = CliRunner().invoke(app, ["predict", *map(str, arguments)])
    return done.exit_code, [json.loads(line) for line in done.stdout.splitlines()]


def joints(records: list[dict]) -> np.ndarray:
    return np.array([record["xyz_mm"] for record in records])


def write_pngs(folder: Path, images: np.ndarray) -> Path:
    folder.mkdir()
    for number, image in enumerate(images):
        cv2.imwrite(str(folder / f"{number}.png"), image)
    return folder


def test_realsense_recordings_and_pngs_of_the_same_frames_have_the_same_joints(tmp_path: Path) -> None:
    rs = pytest.importorskip("pyrealsense2")
    pytest.importorskip("rosbags")
    images = bag_images()
    for (values, unit, time, _), image, seconds in zip(play_realsense(rs, REALSENSE_BAG), images, TIMES, strict=True):
        assert np.array_equal(values, image)
        assert (unit, round(time - seconds, 6)) == (0.125, 0.0)
    record_realsense(rs, tmp_path / "a.db3", images, TIMES, camera=Camera.parse(CAMERA))
    code, expected = predict(write_pngs(tmp_path / "png", images), "-c", CAMERA, "--unit", "0.125")
    assert code == 0
    assert [record["status"] for record in expected] == ["ok"] * 3
    for path in (tmp_path / "a.db3", REALSENSE_BAG):
        code, records = predict(path)
        assert code == 0
        assert [record["source"] for record in records] == [f"{path}#{number}" for number in range(3)]
        assert [record["time_s"] for record in records] == pytest.approx(TIMES, abs=1e-6)
        assert [record["unit"] for record in records] == [record["unit"] for record in expected] == [0.125] * 3
        assert [record["camera"] for record in records] == [record["camera"] for record in expected]
        assert np.abs(joints(records) - joints(expected)).max() < 0.01


def test_ros_images_in_millimeters_have_the_joints_of_pngs_that_are_rounded_alike(tmp_path: Path) -> None:
    pytest.importorskip("rosbags")
    from tests.recordings.test_ros import Bag

    rounded = np.round(bag_images() / 8).astype(np.uint16)
    with Bag(tmp_path / "bag", ".mcap") as bag:
        bag.info("/camera/depth/camera_info", Camera.parse(CAMERA))
        for image, seconds in zip(rounded, TIMES, strict=True):
            bag.image("/camera/depth/image_raw", seconds, "16UC1", image)
            bag.image("/other/depth/image_raw", seconds, "16UC1", image)
    code, expected = predict(write_pngs(tmp_path / "png", rounded), "-c", CAMERA)
    assert code == 0
    code, records = predict(tmp_path / "bag", "--topic", "/camera/depth/image_raw")
    assert code == 0
    assert np.array_equal(joints(records), joints(expected))
    assert "several topics of depth images" in str(
        CliRunner().invoke(app, ["predict", str(tmp_path / "bag")]).exception
    )


@pytest.mark.filterwarnings("ignore:.*was not recorded or copied completely")
def test_the_frames_before_the_damage_of_a_recording_are_predicted(tmp_path: Path) -> None:
    whole, damaged, out = tmp_path / "whole.mcap", tmp_path / "damaged.mcap", tmp_path / "out.jsonl"
    with closing(Recorder(whole)) as recorder:
        for frame in islice(frames(EXAMPLES / "hand.hpr"), 3):
            recorder.write(frame)
    _, expected = predict(whole)
    data = bytearray(whole.read_bytes())
    data[chunk_places(data)[2].start - 1] = 1  # the most significant byte of its length
    damaged.write_bytes(data)
    assert predict(damaged, whole, "-o", out)[0] == 1
    first, second, failed, *others = map(json.loads, out.read_text().splitlines())
    assert [record["source"] for record in (first, second)] == [f"{damaged}#0", f"{damaged}#1"]
    assert np.array_equal(joints([first, second, *others]), joints([*expected[:2], *expected]))
    assert (failed["source"], failed["status"]) == (str(damaged), "error")
    assert failed["reason"] == "cannot be read (a record is damaged)"
    lines = out.read_text()
    assert predict(damaged, whole, "-o", out, "--resume")[0] == 1
    assert out.read_text() == lines
    damaged.write_bytes(data[: chunk_places(data)[0].start] + b"\xff" * 99)
    assert str(CliRunner().invoke(app, ["predict", str(damaged)]).exception) == f"{damaged}: contains no complete frame"


def test_recordings_and_files_are_inputs_of_one_job_that_can_be_resumed(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    inputs = (EXAMPLES / "hand.hpr", write_pngs(tmp_path / "png", bag_images()[:1] // 8))
    pictures = ("--draw", tmp_path / "pictures")
    code, _ = predict(*inputs, "-c", CAMERA, "-o", out, *pictures)
    lines = out.read_text().splitlines(keepends=True)
    assert code == 0
    assert [json.loads(line)["source"] for line in lines] == [
        *(f"{EXAMPLES / 'hand.hpr'}#{number}" for number in range(45)),
        str(tmp_path / "png" / "0.png"),
    ]
    assert len(list((tmp_path / "pictures").iterdir())) == 46
    manifest = tmp_path / "out.jsonl.manifest.jsonl"
    manifest.write_text("".join(manifest.read_text().splitlines(keepends=True)[:-4]))  # four frames are missing
    code, _ = predict(*inputs, "-c", CAMERA, "-o", out, "--resume", *pictures)
    assert code == 0
    assert out.read_text() == "".join(lines)


@pytest.mark.filterwarnings("ignore:.*was not recorded or copied completely")
def test_a_recording_that_changed_is_not_resumed(tmp_path: Path) -> None:
    recording = tmp_path / "a.hpr"
    data = (EXAMPLES / "hand.hpr").read_bytes()
    recording.write_bytes(data[:30000])
    assert predict(recording, "-o", tmp_path / "out.jsonl")[0] == 0
    recording.write_bytes(data[:60000])
    done = CliRunner().invoke(app, ["predict", str(recording), "-o", str(tmp_path / "out.jsonl"), "--resume"])
    assert "has changed since" in str(done.exception)


@pytest.mark.filterwarnings("ignore:.*was not recorded or copied completely")
def test_a_damaged_frame_fails_alone(tmp_path: Path) -> None:
    data = bytearray((EXAMPLES / "hand.hpr").read_bytes()[:40000])
    start = data.index(b"\n") + 1
    data[start + 50 : start + 150] = bytes(100)
    (tmp_path / "a.hpr").write_bytes(data)
    code, records = predict(tmp_path / "a.hpr")
    assert code == 1
    first, *others = records
    assert first["reason"] == "is damaged; copy the recording again"
    assert {record["status"] for record in others} == {"ok"}
