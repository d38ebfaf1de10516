from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handpose import Camera, HandPose, HandPoseError, HandPoseEstimator
from handpose.localization.localizer import MAX_VIEW_PIXELS, MAX_VOTES, hand_candidates
from handpose.network.config import JGRP2OConfig
from tests.helpers.cases import CAMERA, CASES, DEPTH, Case, Still, outcome


@pytest.fixture(scope="module")
def estimator() -> HandPoseEstimator:
    return HandPoseEstimator.from_pretrained("msra", device="cpu", local_files_only=True)


@pytest.mark.parametrize("fault", dict.fromkeys(case.fault for case in CASES))
def test_extreme_input_yields_joints_no_hand_or_a_one_line_error(estimator: HandPoseEstimator, fault: str) -> None:
    same = estimator.predict(np.rint(DEPTH), camera=CAMERA)
    for case in CASES:
        if case.fault == fault:
            assert not outcome(estimator, case, same), case


numbers = st.one_of(
    st.floats(), st.floats(-1e4, 1e4), st.sampled_from([0, -1, 1e-300, 1e300, 10**400, None, "x", True])
)


@given(st.tuples(numbers, numbers, numbers, numbers, numbers, numbers))
def test_a_camera_is_finite_or_rejected(values: tuple[Any, ...]) -> None:
    try:
        camera = Camera(*values)
    except HandPoseError:
        return
    assert camera.fx > 0 < camera.fy
    point = np.array([3.0, -4.0, 500.0])
    assert np.allclose(
        camera.unproject(camera.project(point)), point, rtol=1e-3, atol=1e-4 * (1 + abs(camera.cx)) / camera.fx
    )


@settings(max_examples=40, deadline=None)
@given(
    st.floats(1e-3, 1e6), st.floats(-1e6, 1e6), st.tuples(*[st.floats(-2e6, 2e6)] * 2, st.floats(-10, 2e6)),
    st.sampled_from([0.0, 500.0, np.nan, 1e30]),
)  # fmt: skip
def test_any_cube_of_any_camera_yields_joints_or_no_hand(
    focal: float, middle: float, center: tuple[float, ...], mm: float
) -> None:
    camera = Camera(focal, focal, middle, middle)
    case = Case("", lambda: np.full((30, 40), mm), {"camera": camera, "center": center}, "ok|no_hand|hand center")
    still = HandPoseEstimator(Still(), JGRP2OConfig("msra"), "still")
    assert not outcome(still, case, None)


def test_the_number_of_votes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    side = int(MAX_VIEW_PIXELS**0.5)
    monkeypatch.setattr(
        "handpose.localization.numpy_runtime.votes_network",
        lambda x, *_: np.full((x.shape[0] // 4, x.shape[1] // 4, 16), 9.0, np.float32),
    )
    depth = np.full((side, side), 500.0, np.float32)
    centers, areas = hand_candidates(depth, Camera(80.0, 80.0, side / 2, side / 2), 3)
    assert 0 < len(centers) <= 3
    assert np.isfinite(centers).all()
    assert np.isfinite(areas).all()
    assert (side // 2) ** 2 > 2 * MAX_VOTES


def test_a_network_that_returns_nan_is_an_error() -> None:
    broken = HandPoseEstimator(Still(np.nan), JGRP2OConfig("msra"), "broken")
    with pytest.raises(HandPoseError, match="weights are damaged"):
        broken.predict(DEPTH, camera=CAMERA)
    with pytest.raises(HandPoseError, match="finite numbers"):
        broken.predict_patches(np.full((1, 1, 96, 96), np.nan))


def test_a_pose_is_either_finite_or_nan() -> None:
    pose = HandPose.no_hand(JGRP2OConfig("msra").joint_layout, hand="right", cube=250.0, camera=CAMERA)
    record = pose.to_dict()
    for number in (1.0, float("inf")):
        record["xyz_mm"][4][1] = number
        with pytest.raises(HandPoseError, match="NaN otherwise"):
            HandPose.from_dict(record)
