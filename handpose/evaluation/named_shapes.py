"""Accuracy of finger states per named hand shape."""

from __future__ import annotations

import itertools
from collections import defaultdict

import numpy as np

from handpose.geometry.articulation import FingerState, finger_states
from handpose.geometry.layouts import FINGERS, JointLayout
from handpose.inference.estimator import HandPoseEstimator
from handpose.io.warn import collect_warnings
from handpose.synthetic.testset import named_testset

LONG_FINGERS = FINGERS[1:]
_TOGETHER_MM = 30.0  # between the tips of extended neighbors: touching tips are some 20 mm apart, parted ones over 40


def finger_state_shares(estimator: HandPoseEstimator, per_name: int = 12) -> dict[str, tuple[float, float]]:
    """Return, for each named hand shape, the share of correct finger states and the share of correct gaps.

    A state is `extended` or `bent` (`HandPose.fingers`), for each long finger. A gap is whether two extended neighbors
    are held together; its share is NaN for shapes without such neighbors. The true joints decide what is correct. An
    image without a prediction has no correct state.

    Args:
        estimator: Estimator to measure; the hand is localized in each image.
        per_name: Number of images per name.
    """
    states: dict[str, list[bool]] = defaultdict(list)
    gaps: dict[str, list[bool]] = defaultdict(list)
    for name, (depth, camera, xyz) in named_testset(estimator.layout, per_name):
        with collect_warnings([]):  # about images of users, whose camera and unit may be wrong
            pose = estimator.predict(depth, camera=camera, hand="right")
        predicted, true = (_states(joints, estimator.layout) for joints in (pose.xyz, xyz))
        states[name] += [predicted[finger] == true[finger] for finger in LONG_FINGERS]
        for one, other in itertools.pairwise(LONG_FINGERS):
            if true[one] == true[other] == "extended":
                gaps[name].append(
                    _together(pose.xyz, one, other, estimator.layout) == _together(xyz, one, other, estimator.layout)
                )
    return {
        name: (float(np.mean(correct)), float(np.mean(gaps[name])) if gaps[name] else float("nan"))
        for name, correct in states.items()
    }


def describe_shares(shares: dict[str, tuple[float, float]]) -> list[str]:
    """Return the result of `finger_state_shares` as two lines of text: the means, and the states of each name."""
    states, gaps = np.array(list(shares.values())).T
    return [
        f"finger states of {len(shares)} named hand shapes: {np.mean(states):.1%} correct; "
        f"gaps between extended neighbors: {np.nanmean(gaps):.1%} correct",
        f"finger states per shape: {', '.join(f'{name} {share:.0%}' for name, (share, _) in shares.items())}",
    ]


def _states(xyz: np.ndarray, layout: JointLayout) -> dict[str, FingerState | None]:
    """Return the state of each finger, or none without a prediction."""
    if np.isnan(xyz).any():
        return dict.fromkeys(FINGERS)
    return dict(finger_states(xyz, layout))


def _together(xyz: np.ndarray, one: str, other: str, layout: JointLayout) -> bool:
    tips = [xyz[layout.joints.index(f"{finger}_tip")] for finger in (one, other)]
    return bool(np.linalg.norm(tips[0] - tips[1]) < _TOGETHER_MM)
