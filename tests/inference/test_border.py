"""Hands that the image border cuts off. The truth is the uncut image: cutting it hides a known part of the hand."""

from __future__ import annotations

import numpy as np
import pytest

from handpose import Camera, HandPoseEstimator, read_depth
from handpose.inference.check_border import CUT_OFF, share_at_border
from tests.helpers.paths import EXAMPLES

CAMERA = Camera.parse(str(EXAMPLES / "sr305/camera.json"))
NAMES = ["open", "pinch", "down"]
FOREARM = {"open": "bottom", "pinch": "bottom", "down": "left"}


@pytest.fixture(scope="module")
def estimator() -> HandPoseEstimator:
    return HandPoseEstimator.from_pretrained("msra", device="cpu", local_files_only=True)


def window(uv: np.ndarray, side: str, share: float) -> tuple[int, int, int, int]:
    """The first column and row, and the last ones, of the image without a share of the box of the joints on a side."""
    left, top = uv.min(axis=0)
    right, bottom = uv.max(axis=0)
    across, down = share * (right - left), share * (bottom - top)
    cut = {"left": (left + across, 0, 640, 480), "right": (0, 0, right - across, 480)}
    cut |= {"top": (0, top + down, 640, 480), "bottom": (0, 0, 640, bottom - down)}
    x0, y0, x1, y1 = map(round, cut[side])
    return x0, y0, x1, y1


@pytest.mark.filterwarnings("ignore::handpose.InputWarning")
@pytest.mark.parametrize("name", NAMES)
def test_fingers_beyond_the_border_are_reported(estimator: HandPoseEstimator, name: str) -> None:
    depth = read_depth(EXAMPLES / "sr305" / f"{name}.png", 0.125)
    whole = estimator.predict(depth, camera=CAMERA, hand="right")
    assert share_at_border(whole, depth) == 0.0
    reported = 0
    for side in sorted({"left", "right", "top", "bottom"} - {FOREARM[name]}):
        x0, y0, x1, y1 = window(whole.uvz[:, :2], side, 0.35)
        pose = estimator.predict(
            depth[y0:y1, x0:x1], camera=CAMERA.crop(x0, y0, x1 - x0, y1 - y0), center=whole.center, hand="right"
        )
        assert CUT_OFF in pose.warnings or pose.status == "low_confidence", side
        reported += CUT_OFF in pose.warnings
    assert reported >= 2


@pytest.mark.filterwarnings("ignore::handpose.InputWarning")
@pytest.mark.parametrize("name", NAMES)
def test_a_forearm_beyond_the_border_is_not_reported(estimator: HandPoseEstimator, name: str) -> None:
    depth = read_depth(EXAMPLES / "sr305" / f"{name}.png", 0.125)
    whole = estimator.predict(depth, camera=CAMERA, hand="right")
    x0, y0, x1, y1 = window(whole.uvz[:, :2], FOREARM[name], -0.15)
    cut = depth[y0:y1, x0:x1]
    pose = estimator.predict(cut, camera=CAMERA.crop(x0, y0, x1 - x0, y1 - y0), hand="right")
    assert ((cut[:, 0] if FOREARM[name] == "left" else cut[-1]) > 0).any()
    assert CUT_OFF not in pose.warnings


@pytest.mark.filterwarnings("ignore::handpose.InputWarning")
@pytest.mark.parametrize("name", NAMES)
def test_a_hand_that_is_mostly_beyond_the_border_is_not_ok(estimator: HandPoseEstimator, name: str) -> None:
    depth = read_depth(EXAMPLES / "sr305" / f"{name}.png", 0.125)
    whole = estimator.predict(depth, camera=CAMERA, hand="right")
    fingers = {"left": "right", "bottom": "top"}[FOREARM[name]]
    x0, y0, x1, y1 = window(whole.uvz[:, :2], fingers, 0.5)
    pose = estimator.predict(depth[y0:y1, x0:x1], camera=CAMERA.crop(x0, y0, x1 - x0, y1 - y0), hand="right")
    assert np.linalg.norm(pose.xyz - whole.xyz, axis=1).mean() > 20.0
    assert pose.status == "low_confidence"
