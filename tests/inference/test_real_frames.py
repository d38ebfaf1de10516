"""Tests the built-in weights on real depth images that were not used in their development."""

from __future__ import annotations

import json

import numpy as np
import pytest

from handpose import Camera, HandPoseEstimator, HandTracker, read_depth
from tests.helpers.paths import EXAMPLES, SHARED

FOLDER = SHARED / "frames" / "sr305"
CAMERA = Camera(476.007, 476.007, 313.683, 242.755, 640, 480)
BEHIND_SKIN = 8.0  # mm from the labeled skin to the joint in a fingertip


@pytest.mark.shared
def test_joints_lie_in_the_hand_and_fingertips_match_their_labels() -> None:
    estimator = HandPoseEstimator.from_pretrained("msra", device="cpu")
    labels = json.loads((FOLDER / "labels.json").read_text())
    errors = []
    for path in sorted(FOLDER.glob("*.png")):
        pose = estimator.predict(path, camera=CAMERA, unit=0.125, hand="right")
        x, y, width, height = labels[path.name]["box"]
        inside = (pose.uvz[:, :2] > [x - 10, y - 10]) & (pose.uvz[:, :2] < [x + width + 10, y + height + 10])
        assert inside.all(), path.name
        for name, point in labels[path.name].get("points", {}).items():
            if name.endswith("_tip"):
                skin = np.array(point["xyz_surface_mm"])
                joint = skin * (1 + BEHIND_SKIN / np.linalg.norm(skin))
                errors.append(np.linalg.norm(pose[name.replace("little", "pinky")] - joint))
    assert len(errors) == 40
    assert np.mean(errors) < 8.0
    assert np.max(errors) < 15.0


@pytest.mark.filterwarnings("ignore:may be a (left|right) hand:handpose.io.warn.InputWarning")
@pytest.mark.parametrize("hand", ["right", "auto"])
@pytest.mark.parametrize("name", ["open", "pinch", "down"])
def test_a_face_is_no_second_hand(name: str, hand: str) -> None:
    """Each image shows one hand and the head of its owner, who stands behind it."""
    estimator = HandPoseEstimator.from_pretrained("msra", device="cpu")
    depth = read_depth(EXAMPLES / "sr305" / f"{name}.png", 0.125)
    poses = estimator.predict_hands(depth, camera=CAMERA, max_hands=2, hand=hand)
    assert [pose.status for pose in poses].count("ok") == 1
    (tracked,) = HandTracker(estimator, max_hands=2, hand=hand).update(depth, CAMERA, 0.0)
    assert tracked.pose.status == "ok"
    assert (tracked.pose.hand, tracked.pose.xyz[:, 2].mean() < 620.0) == ("right", True)
