"""Refinement passes: when they run, which pose is kept, and what their agreement says about its error."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from handpose import Camera, HandPose, HandPoseEstimator
from handpose.geometry.crop import HandCrop
from handpose.inference.candidates import Candidates
from handpose.inference.query import Query
from handpose.inference.refine import (
    all_passes,
    combine_passes,
    is_more_likely,
    least_uncertain,
    may_be_elsewhere,
    most_likely,
    with_certain_hands,
)
from handpose.io.warn import Note
from handpose.network.calibration import Calibration
from tests.helpers.paths import EXAMPLES

CAMERA = Camera.parse(str(EXAMPLES / "camera.json"))
HAND = np.array(json.loads((EXAMPLES / "open.truth.json").read_text())["xyz_mm"])
IMAGE = Candidates(Query(CAMERA), CAMERA, depth=np.full((480, 640), 400.0, np.float32), is_localized=True)


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    """A calibration that expects 10 mm for a single pass, and for several twice their distance plus 2 mm."""
    bones = HandPoseEstimator.from_pretrained("msra", device="cpu").config.calibration.bones_mm
    return Calibration(0.0, 0.0, 0.0, (1.0, 1e9), (10.0, 1e10), bones, passes=1.0, passes_mm=4.0)


def pose(error_mm: float, shift: float = 0.0) -> HandPose:
    """Return a pose with this expected error, shifted along x."""
    found = HandPoseEstimator.from_pretrained("msra", device="cpu").predict(
        EXAMPLES / "open.png", camera=CAMERA, hand="right"
    )
    return replace(found, xyz=HAND + np.array([shift, 0.0, 0.0]), error_mm=np.full(21, error_mm))


@pytest.mark.parametrize(("errors", "passes"), [((7.0,), 1), ((9.0, 7.0), 2), ((9.0, 12.0, 11.0), 3)])
def test_a_pose_is_refined_until_it_is_confident_but_at_most_twice(errors: Sequence[float], passes: int) -> None:
    queue = [pose(error, 10.0 * n) for n, error in enumerate(errors)]
    centers = []

    def predict(crops: Sequence[HandCrop], images: Sequence[Candidates]) -> list[HandPose]:
        centers.extend(crop.center for crop in crops)
        return [queue[len(centers)] for _ in crops]

    ((found),) = all_passes(queue[:1], [IMAGE], predict)
    assert found == queue
    assert len(found) == passes
    # Each pass sees the hand from the mean of the joints in the previous one.
    assert np.allclose(centers, [each.xyz.mean(axis=0) for each in found[:-1]]) or passes == 1
    assert least_uncertain(found)[0] is min(found, key=lambda each: each.error_mm.mean())


def test_a_hand_at_a_given_location_has_one_pass() -> None:
    found = all_passes([pose(50.0)], [replace(IMAGE, is_localized=False)], lambda crops, images: [])
    assert [len(each) for each in found] == [1]


@pytest.mark.parametrize(
    ("shifts", "expected", "status"),
    [
        ([0.0], 10.0, "ok"),
        ([0.0, 4.0], 10.0, "ok"),
        ([0.0, 6.0], 14.0, "ok"),
        ([0.0, 13.0], 28.0, "low_confidence"),
        ([0.0, 10.0, -30.0], 42.0, "low_confidence"),
    ],
)
def test_passes_that_are_apart_are_doubted(
    calibration: Calibration, shifts: Sequence[float], expected: float, status: str
) -> None:
    poses = [pose(10.0 + n, shift) for n, shift in enumerate(shifts)]
    combined = combine_passes(poses, calibration)
    assert np.array_equal(combined.xyz, poses[0].xyz)
    assert combined.error_mm == pytest.approx(expected, rel=1e-6)
    assert combined.status == status


def test_a_confident_pose_does_not_depend_on_a_pass_from_a_poor_crop(calibration: Calibration) -> None:
    poses = [pose(40.0, 50.0), pose(7.0)]
    assert combine_passes(poses, calibration) is poses[1]


def test_a_clear_pose_that_is_probably_no_hand_is_doubted(calibration: Calibration) -> None:
    for log_odds, status in ((math.nan, "ok"), (20.0, "ok"), (-5.0, "low_confidence")):
        poses = [replace(pose(10.0 + n), hand_log_odds=log_odds) for n in range(2)]
        assert combine_passes(poses, calibration).status == status


def test_the_candidate_that_is_probably_a_hand_is_selected() -> None:
    face, hand = pose(10.0), pose(12.0)
    assert most_likely([face, hand], [3000.0, 2000.0]) is face
    face, hand = replace(face, hand_log_odds=-5.0), replace(hand, hand_log_odds=8.0)
    assert most_likely([face, hand], [3000.0, 2000.0]) is hand
    # Where the side is given, the other hand of a person is not selected although it is larger and clearer.
    right, left = (
        replace(hand, given_side_log_odds=7.0),
        replace(pose(10.0), hand_log_odds=9.0, given_side_log_odds=-5.0),
    )
    assert most_likely([right, left], [1000.0, 3000.0]) is right
    assert [may_be_elsewhere(each) for each in (right, left)] == [False, True]
    assert is_more_likely(right, left)
    assert not is_more_likely(left, right)
    # Without any hand, the least unlikely candidate is selected, even if its probability rounds to 0.
    unlikely = [replace(face, hand_log_odds=value) for value in (-1e3, -800.0, -1e6)]
    assert most_likely(unlikely, [1.0, 1.0, 1.0]) in unlikely


def test_faint_hands_that_are_certain_are_added_nearest_first() -> None:
    depth = np.full((480, 640), 400.0, np.float32)

    def hand(x: float, z: float, **attributes: object) -> Candidates:
        crop = HandCrop.cut(depth, CAMERA, [x, 0.0, z], 250.0)
        return replace(IMAGE, crops=(crop,), areas=(1.0,), max_hands=2, **attributes)

    def at(x: float, log_odds: float) -> list[HandPose]:
        shift = [x, 0.0, 400.0] - HAND.mean(axis=0)
        return [replace(pose(5.0), xyz=HAND + shift, hand_log_odds=log_odds)]

    note = Note("doubtful unit", UserWarning)
    likely, other = hand(0.0, 400.0, notes=(note,)), hand(200.0, 300.0, is_faint=True)
    third, nothing = hand(-200.0, 350.0, is_faint=True), replace(IMAGE, max_hands=2, notes=(note,))

    def found(hands: Sequence[Candidates], *poses: Sequence[HandPose]) -> list[float]:
        both = with_certain_hands(hands, poses)
        assert [each.hand_index for each in both] == list(range(len(both)))
        assert [each.notes for each in both] == [(note,), *[()] * (len(both) - 1)]
        return [each.crops[0].center[0] for each in both if each.crops]

    assert found([likely, other], [], at(200.0, 9.0)) == [200.0, 0.0]
    assert found([likely, other], [], at(200.0, 5.0)) == [0.0]  # perhaps a face
    assert found([likely, other], [], at(50.0, 9.0)) == [0.0]  # the same hand
    assert found([likely, other, third], [], at(200.0, 7.0), at(-200.0, 9.0)) == [-200.0, 0.0]  # at most two
    assert found([nothing, other], [], at(200.0, 9.0)) == [200.0]
    assert found([nothing, other], [], []) == []


def test_without_the_exponent_of_passes_nothing_changes(calibration: Calibration) -> None:
    poses = [pose(10.0), pose(9.0, 50.0)]
    assert combine_passes(poses, replace(calibration, passes=0.0)) is poses[1]
    assert combine_passes(poses, None) is poses[1]
