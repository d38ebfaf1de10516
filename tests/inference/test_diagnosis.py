from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from handpose import Camera, HandPoseEstimator, Query, read_depth
from handpose.cli.main import app
from handpose.inference.decode import decode
from handpose.inference.diagnosis import check_frame
from handpose.io.depth.units import DepthUnit
from tests.helpers.paths import EXAMPLES

CAMERA = Camera.parse(str(EXAMPLES / "camera.json"))
DEPTH = cv2.imread(str(EXAMPLES / "open.png"), cv2.IMREAD_UNCHANGED)
Check = Callable[..., dict[str, tuple[str, str]]]


@pytest.fixture(scope="module")
def estimator() -> HandPoseEstimator:
    return HandPoseEstimator.from_pretrained("msra", device="cpu", local_files_only=True)


@pytest.fixture
def check(estimator: HandPoseEstimator, tmp_path: Path) -> Check:
    def run(depth: np.ndarray, **arguments: object) -> dict[str, tuple[str, str]]:
        file = tmp_path / "frame.npy"
        np.save(file, depth)
        arguments = {"camera": CAMERA, "hand": "right"} | arguments
        findings = check_frame(file, estimator, Query(**arguments))  # type: ignore[arg-type]
        return {finding.name: (finding.verdict, finding.message) for finding in findings}

    return run


def test_all_checks_of_a_good_frame_are_ok(check: Check) -> None:
    found = check(DEPTH)
    assert {verdict for verdict, _ in found.values()} == {"ok"}, found
    assert list(found) == [
        *("file", "camera", "missing", "range", "unit", "values", "focal", "hand", "holes", "error", "bones", "side"),
    ]


@pytest.mark.parametrize(("stored", "unit", "option"), [(8.0, 0.125, "0.125"), (10.0, 0.1, "0.1"), (0.001, "m", "m")])
def test_the_correct_unit_is_suggested(check: Check, stored: float, unit: DepthUnit, option: str) -> None:
    image = DEPTH * stored if unit == "m" else (DEPTH * stored).astype(np.uint16)
    verdict, message = check(image)["unit"]
    assert verdict == "fail"
    assert f"`unit={option}` " in message
    verdict, message = check(image, unit=unit)["unit"]
    assert (verdict, message.split(";")[0]) == ("ok", f"read as {unit}")


@pytest.mark.parametrize("fx", [240.0, 310.0, 357.0])
@pytest.mark.parametrize("name", ["open", "pinch", "down"])
def test_likely_focal_lengths_are_named(estimator: HandPoseEstimator, name: str, fx: float) -> None:
    """The frames are those of a camera with 476 px; neither the unit nor the side is wrong."""
    given = Camera.parse(str(EXAMPLES / "sr305" / "camera.json"))
    camera = replace(given, fx=fx, fy=fx)
    findings = check_frame(EXAMPLES / "sr305" / f"{name}.png", estimator, Query(camera, hand="right", unit=0.125))
    found = {finding.name: finding for finding in findings}
    assert (found["unit"].verdict, found["focal"].verdict) == ("ok", "warn"), findings
    assert "side" not in found or found["side"].verdict == "ok", findings
    (named,) = re.findall(r"about (\d+);", found["focal"].message)
    assert float(named) == pytest.approx(given.fx, rel=0.15)


def test_the_size_of_the_hand_suggests_a_focal_length(check: Check) -> None:
    verdict, message = check(DEPTH, camera=replace(CAMERA, fx=400.0, fy=400.0))["focal"]
    assert (verdict, message.split(":")[0]) == ("ok", "fx 400 and fy 400 are plausible, but not verified")
    average = float(message.split("a hand of average size suggests about ")[1])
    verdict, message = check(DEPTH, camera=replace(CAMERA, fx=620.0, fy=620.0))["focal"]
    assert (verdict, "times as large as an average one" in message) == ("warn", True), message
    (likely,) = re.findall(r"which suggests about (\d+);", message)
    assert float(likely) == pytest.approx(average, rel=0.15)


@pytest.mark.parametrize(("fx", "unit", "verdict"), [(615, 0.125, "note"), (385, 0.125, "warn"), (476, 0.1, "note")])
def test_a_plausible_but_wrong_camera_or_unit_is_not_ok(
    estimator: HandPoseEstimator, fx: float, unit: float, verdict: str
) -> None:
    given = Camera.parse(str(EXAMPLES / "sr305" / "camera.json"))
    query = Query(replace(given, fx=fx, fy=fx), unit=unit, hand="right")
    found = {one.name: one for one in check_frame(EXAMPLES / "sr305" / "pinch.png", estimator, query)}
    assert found["focal"].verdict in (verdict, "warn"), found
    assert "only the size of the hand" in found["unit"].message


def test_no_line_follows_from_a_pose_that_another_line_explains(check: Check, estimator: HandPoseEstimator) -> None:
    camera = Camera.parse(str(EXAMPLES / "sr305" / "camera.json"))
    depth = read_depth(EXAMPLES / "sr305" / "open.png", 0.125)
    disparity = np.where(depth > 0, np.rint(837_000 / np.maximum(depth, 1)), 0).astype(np.uint16)
    found = check(disparity, camera=camera, hand="right")
    assert (list(found)[-1], found["values"][0]) == ("values", "fail")
    enlarged = cv2.resize(depth, (1280, 960), interpolation=cv2.INTER_LINEAR)
    found = check(enlarged, camera=camera.resize(1280, 960), hand="right")
    assert (found["values"][0], found["error"][0]) == ("warn", "warn")
    assert not {"focal", "bones", "side"} & found.keys()


def test_a_wrong_unit_is_not_a_wrong_focal_length(estimator: HandPoseEstimator) -> None:
    camera = Camera.parse(str(EXAMPLES / "sr305" / "camera.json"))
    findings = check_frame(EXAMPLES / "sr305" / "open.png", estimator, Query(camera, unit=0.25))
    found = {finding.name: finding.verdict for finding in findings}
    assert found["unit"] == "warn", findings
    assert not {"focal", "bones", "side"} & found.keys()


def test_a_small_unit_is_named_although_the_pose_is_clear(estimator: HandPoseEstimator) -> None:
    camera = Camera.parse(str(EXAMPLES / "sr305" / "camera.json"))
    for hand in ("right", "auto"):
        findings = check_frame(EXAMPLES / "sr305" / "open.png", estimator, Query(camera, unit=0.0625, hand=hand))  # type: ignore[arg-type]
        found = {one.name: one for one in findings}
        assert found["unit"].verdict == "warn", findings
        assert "a hand would be found with `unit=0.125`" in found["unit"].message


def test_a_location_that_is_not_a_hand_fails(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "handpose.inference.stages.decode",
        lambda *arguments: decode(*arguments[:6], np.full(len(arguments[2]), -9.0), *arguments[7:]),
    )
    verdict, message = check(DEPTH)["hand"]
    assert (verdict, message.endswith("; nothing at this location looks like a hand")) == ("fail", True)


def test_an_image_without_depth_is_not_examined_further(check: Check) -> None:
    found = check(np.zeros_like(DEPTH))
    assert list(found) == ["file", "camera", "missing"]
    assert found["missing"] == ("fail", "no pixel has a depth value; check the sensor and how its image was saved")


def test_frames_of_recordings_and_stacks(estimator: HandPoseEstimator, tmp_path: Path) -> None:
    recording = EXAMPLES / "hand.hpr"
    stack = tmp_path / "two.npy"
    np.save(stack, np.stack([np.zeros_like(DEPTH), DEPTH]))
    query = Query()
    for path, message in (
        (recording, "224 x 172 px, frame 0 of 45"),
        (f"{recording}#3", "224 x 172 px, frame 3 of 45"),
        (f"{stack}#1", "640 x 480 px, frame 1 of 2"),
    ):
        found = {finding.name: finding for finding in check_frame(path, estimator, query)}
        assert found["file"].message == message
        assert found["hand"].verdict == "ok"
    assert "field of view 56 degrees" in check_frame(recording, estimator, query)[1].message
    (finding,) = check_frame(f"{recording}#45", estimator, query)
    assert (finding.verdict, finding.message) == ("fail", f"{recording}#45: the file has fewer frames")


def test_implausible_cameras(check: Check) -> None:
    assert check(DEPTH, camera=None)["camera"][0] == "warn"
    wrong_size = check(DEPTH, camera=Camera(476, 476, 212, 200, 424, 400))
    assert list(wrong_size) == ["file", "camera"]
    assert wrong_size["camera"][0] == "fail"
    for camera, expected in (
        (Camera(4760, 4760, 319.5, 239.5), "fx and fy must be"),
        (Camera(476, 476, 80, 239.5), "far from the center"),
        (Camera(476, 600, 319.5, 239.5), "usually square"),
    ):
        verdict, message = check(DEPTH, camera=camera)["camera"]
        assert (verdict, expected in message) == ("warn", True), message


def test_an_image_without_a_hand(check: Check) -> None:
    wall = check(np.full((480, 640), 3000, np.uint16))
    assert wall["range"][0] == wall["hand"][0] == "fail"
    assert wall["missing"] == ("ok", "0% of the pixels have no depth value")


def test_holes_in_the_hand(check: Check) -> None:
    speckled = DEPTH.copy()
    speckled[::2] = 0
    assert check(speckled)["holes"][0] == "warn"


def test_the_other_hand_is_detected(check: Check) -> None:
    mirrored = Camera(CAMERA.fx, CAMERA.fy, CAMERA.width - 1 - CAMERA.cx, CAMERA.cy, CAMERA.width, CAMERA.height)
    verdict, message = check(DEPTH[:, ::-1], camera=mirrored)["side"]
    assert (verdict, "a left hand" in message) == ("warn", True)
    assert check(DEPTH[:, ::-1], camera=mirrored, hand="left")["side"][0] == "ok"


def test_a_predicted_side_is_stated_and_a_doubtful_one_is_reported(estimator: HandPoseEstimator) -> None:
    for name, unit, verdict, message in (
        ("open.png", "mm", "ok", "a right hand"),
        ("sr305/open.png", 0.125, "warn", "may be a left hand; pass `hand=...` if you know it"),
    ):
        camera = Camera.parse(str((EXAMPLES / name).parent / "camera.json"))
        found = {finding.name: finding for finding in check_frame(EXAMPLES / name, estimator, Query(camera, unit=unit))}
        assert (found["side"].verdict, found["side"].message) == (verdict, message)
        assert found["values"].verdict == "ok"


def test_the_command_prints_lines_or_json(tmp_path: Path) -> None:
    runner = CliRunner()
    arguments = ["check", str(EXAMPLES / "open.png"), "-c", str(EXAMPLES / "camera.json")]
    lines = runner.invoke(app, arguments)
    assert lines.exit_code == 0
    assert [line.split()[0] for line in lines.stdout.splitlines()] == ["ok"] * 12
    as_json = runner.invoke(app, [*arguments, "--json"])
    assert [finding["name"] for finding in json.loads(as_json.stdout)] == [
        line.split()[1] for line in lines.stdout.splitlines()
    ]
    (tmp_path / "damaged.png").write_bytes((EXAMPLES / "open.png").read_bytes()[:5000])
    failed = runner.invoke(app, ["check", str(tmp_path / "damaged.png"), "--json"])
    assert failed.exit_code == 1
    (finding,) = json.loads(failed.stdout)
    assert (finding["name"], finding["verdict"]) == ("file", "fail")
