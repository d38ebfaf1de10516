from __future__ import annotations

import numpy as np
import pytest

from handpose.geometry.articulation import finger_states, joint_angles
from handpose.geometry.layouts import LAYOUTS, JointLayout


def bent_hand(layout: JointLayout, turns: dict[str, float], rng: np.random.Generator) -> np.ndarray:
    """Return joints (J, 3) whose fingers each lie in a plane and bend by `turns` degrees at each joint."""
    xyz = np.zeros((len(layout), 3))
    for joints in layout.fingers.values():
        forward, side = np.linalg.qr(rng.normal(size=(3, 2)))[0].T
        angle, at = 0.0, xyz[layout.parents[joints[0]]]
        for joint in joints:
            at = xyz[joint] = at + rng.uniform(15.0, 80.0) * (np.cos(angle) * forward + np.sin(angle) * side)
            angle += np.radians(turns.get(layout.joints[joint], 0.0))
    return xyz


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_known_angles_are_recovered_for_any_hand_and_frame(layout: JointLayout) -> None:
    rng = np.random.default_rng(1)
    bending = [layout.joints[joint] for joints in layout.fingers.values() for joint in joints[:-1]]
    for _ in range(20):
        turns = {joint: rng.uniform(0.0, 179.0) for joint in bending}
        xyz = bent_hand(layout, turns, rng)
        rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        for same in (xyz, xyz * [-1, 1, 1], xyz @ rotation * 1.7 + rng.normal(size=3) * 500):
            angles = joint_angles(same, layout)
            assert list(angles) == bending
            assert angles == pytest.approx(turns, abs=1e-4)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_fingers_are_bent_above_the_threshold(layout: JointLayout) -> None:
    rng = np.random.default_rng(2)
    for finger, joints in layout.fingers.items():
        turning = [layout.joints[joint] for joint in joints[:-1]]
        each = (120.0 if finger == "thumb" else 60.0) / len(turning)
        for factor, state in ((0.97, "extended"), (1.03, "bent")):
            states = finger_states(bent_hand(layout, dict.fromkeys(turning, factor * each), rng), layout)
            assert states.pop(finger) == state
            assert set(states.values()) == {"extended"}
