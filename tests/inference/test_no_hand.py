"""A result without a hand states its reason, in Python, in records and on the terminal."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from handpose import Camera, HandPose, HandPoseEstimator, predict_files
from handpose.inference.query import Query
from tests.helpers.command import run
from tests.helpers.paths import EXAMPLES

CAMERA = Camera.parse(str(EXAMPLES / "camera.json"))
OPEN = cv2.imread(str(EXAMPLES / "open.png"), cv2.IMREAD_UNCHANGED)
EMPTY = np.zeros((480, 640), np.uint16)
UPPER = np.where(np.arange(480)[:, None] < 240, OPEN, 0).astype(np.uint16)
OUTSIDE = "the box is outside of the image of 640 x 480 px"
CASES: list[tuple[np.ndarray, dict[str, Any], str]] = [
    (EMPTY, {}, "the image has no depth values"),
    (np.full((480, 640), 2100, np.uint16), {}, "no depth value is between 100 and 2,000 mm"),
    (np.full((480, 640), 90, np.uint16), {}, "no depth value is between 100 and 2,000 mm"),
    (np.full((480, 640), 1500, np.uint16), {}, "nothing in the image looks like a hand"),
    (OPEN, {"box": (640, 100, 50, 50)}, OUTSIDE),
    (OPEN, {"box": (-50, 100, 50, 50)}, OUTSIDE),
    (OPEN, {"box": (300.6, 300.6, 0.3, 0.4)}, "the box is smaller than a pixel"),
    (UPPER, {"box": (300, 300, 50, 50)}, "the box contains no depth values"),
    (UPPER + EMPTY.dtype.type(9000), {"box": (0, 300, 9, 9)}, "no depth value in the box is between 100 and 6,000 mm"),
    (OPEN, {"center": (0.0, 0.0, 300.0)}, "no depth value is within 125 mm of the given hand center"),
    (
        OPEN,
        {"center": (0.01, 0.03, 1.2)},
        "no depth value is within 125 mm of the given hand center; it seems to be in meters, so multiply it by 1000",
    ),
    (OPEN, {"center": (np.nan,) * 3}, "the given hand center is invalid"),
]


@pytest.fixture(scope="module")
def estimator() -> HandPoseEstimator:
    return HandPoseEstimator.from_pretrained("msra", device="cpu", local_files_only=True)


@pytest.mark.filterwarnings("ignore::handpose.InputWarning")
@pytest.mark.parametrize(("image", "arguments", "reason"), CASES)
def test_each_reason(
    estimator: HandPoseEstimator, image: np.ndarray, arguments: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    pose = estimator.predict(image, camera=CAMERA, **arguments)
    assert (pose.status, pose.reason) == ("no_hand", reason)
    assert f"no hand: {reason}" in repr(pose)
    assert pose.to_dict()["reason"] == reason
    assert HandPose.from_dict(json.loads(pose.to_json())).reason == reason
    cv2.imwrite(str(tmp_path / "frame.png"), image)
    (result,) = predict_files(estimator, [tmp_path / "frame.png"], Query(CAMERA, **arguments))
    assert result.pose is not None
    assert result.pose.reason == reason


def test_without_any_of_several_hands_there_is_a_reason(estimator: HandPoseEstimator) -> None:
    candidates = estimator.find_hands(EMPTY.astype(np.float32), Query(CAMERA), 2)
    assert [pose.reason for pose in estimator.poses(candidates)] == ["the image has no depth values"]


def test_a_hand_has_no_reason(estimator: HandPoseEstimator) -> None:
    pose = estimator.predict(OPEN, camera=CAMERA)
    assert pose.reason == ""
    assert "reason" not in pose.to_dict()


def test_the_unit_is_that_of_the_query(estimator: HandPoseEstimator) -> None:
    empty = np.zeros((48, 64), np.uint16)
    assert estimator.predict(empty, camera=(60.0, 60.0, 31.5, 23.5), unit=0.125).to_dict()["unit"] == 0.125


def test_files_contain_the_reason(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "empty.png"), EMPTY)
    arguments = ("predict", tmp_path / "empty.png", "-c", EXAMPLES / "camera.json")
    code, out, _ = run(*arguments)
    assert (code, json.loads(out)["reason"]) == (0, CASES[0][2])
    _, out, _ = run(*arguments, "--format", "csv")
    assert {row["reason"] for row in csv.DictReader(out.splitlines())} == {CASES[0][2]}
    run(*arguments, "-o", tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as arrays:
        assert arrays["reason"].tolist() == [CASES[0][2]]
