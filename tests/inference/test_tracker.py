from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pytest

from handpose import (
    Camera,
    HandCrop,
    HandPose,
    HandPoseError,
    HandPoseEstimator,
    HandTracker,
    InputWarning,
    OneEuro,
    Query,
)
from handpose.geometry.layouts import MSRA21
from handpose.inference.candidates import Candidates
from handpose.recordings.frame import DepthFrame
from tests.helpers.paths import EXAMPLES
from tests.helpers.recordings import frames

CAMERA = Camera(400.0, 400.0, 319.5, 239.5, 640, 480)
NOTHING = np.zeros((480, 640), np.float32)
HAND = np.random.default_rng(0).uniform(-60.0, 60.0, (21, 3))
HAND -= HAND.mean(axis=0)


class Scripted:
    """A fake estimator that ignores the image and predicts the given `hands`.

    A hand is predicted if the crop is centered within 100 mm of it. Its pose as the side that it shows is the more
    certain one by `margin`, the ratio of the spreads of both sides.

    Attributes:
        hands: Joints of the visible hands, (J, 3) mm.
        sides: Sides of these hands; right hands by default.
        centers: Center of every crop around a tracked hand, and None for every search of the whole image.
        calls: Number of crops of every call of the network.
    """

    def __init__(self) -> None:
        self.hands: list[np.ndarray] = []
        self.sides: list[str] = []
        self.spread, self.margin, self.log_odds = 3.0, 1.2, math.nan
        self.centers: list[np.ndarray | None] = []
        self.calls: list[int] = []

    def find(self, depth, query: Query) -> Candidates:
        if query.center is None:
            return self.find_hands(depth, query, 1)[0]
        self.centers.append(query.center)
        return self.crops(query, query.center, 0)

    def find_hands(self, depth, query: Query, max_hands: int, *, thorough: bool = True) -> list[Candidates]:
        self.centers.append(None)
        hands = [self.crops(query, xyz.mean(axis=0), i) for i, xyz in enumerate(self.hands[:max_hands])]
        return hands or [Candidates(query, CAMERA)]

    def checked(self, poses: list[HandPose], depth, query: Query) -> list[HandPose]:
        return poses

    def crops(self, query: Query, center: np.ndarray, index: int) -> Candidates:
        if not any(np.linalg.norm(xyz.mean(axis=0) - center) < 100.0 for xyz in self.hands):
            return Candidates(query, CAMERA)
        mirrors = {"right": (False,), "left": (True,), "auto": (False, True)}[query.hand]
        crops = tuple(HandCrop(NOTHING, CAMERA, center, 250.0, mirror) for mirror in mirrors)
        return Candidates(query, CAMERA, "", index, crops, (1.0,) * len(crops))

    def pose(self, crop: HandCrop) -> HandPose:
        distances = [np.linalg.norm(xyz.mean(axis=0) - crop.center) for xyz in self.hands]
        nearest = int(np.argmin(distances))
        hand, xyz = "left" if crop.mirrored else "right", self.hands[nearest]
        wrong = bool(self.sides) and self.sides[nearest] != hand
        spread = np.full((21, 3), self.spread * (self.margin**0.5 if wrong else 1.0))
        return HandPose(
            *(xyz, CAMERA.project(xyz), spread, np.full(21, np.nan), MSRA21, "ok", hand, crop.center, 250.0, CAMERA),
            hand_log_odds=self.log_odds,
        )

    def poses_per_crop(self, candidates: list[Candidates]) -> list[list[HandPose]]:
        crops = sum(len(hand.crops) for hand in candidates)
        self.calls += [crops] if crops else []
        return [[self.pose(crop) for crop in hand.crops] for hand in candidates]

    def poses(self, candidates: list[Candidates]) -> list[HandPose]:
        return [
            min(poses, key=lambda pose: pose.spread.sum())
            if poses
            else HandPose.no_hand(MSRA21, hand="right", cube=250.0, camera=CAMERA)
            for poses in self.poses_per_crop(candidates)
        ]


def at(x: float, y: float = 0.0, z: float = 500.0) -> np.ndarray:
    return HAND + np.array([x, y, z])


def test_velocity_and_lag_of_a_steady_motion_match_the_closed_form() -> None:
    """At constant speed, the low-pass filtered velocity converges to that speed."""
    estimator = Scripted()
    tracker = HandTracker(estimator)
    for step in range(60):
        estimator.hands = [at(6.0 * step, -3.0 * step)]
        (hand,) = tracker.update(NOTHING, CAMERA, step / 30)
    assert hand.velocity == pytest.approx(np.broadcast_to([180.0, -90.0, 0.0], (21, 3)), abs=0.5)
    # An exponential filter lags by step * (1 - share) / share.
    speed = math.hypot(180.0, 90.0)
    cutoff = OneEuro().min_cutoff + OneEuro().beta * speed
    share = 1.0 / (1.0 + 30.0 / (2.0 * math.pi * cutoff))
    lag = np.linalg.norm(hand.pose.xyz - estimator.hands[0], axis=1)
    assert lag == pytest.approx(np.full(21, speed / 30 * (1 - share) / share), rel=0.02)
    assert hand.pose.uvz == pytest.approx(CAMERA.project(hand.pose.xyz))
    # Each crop was at the extrapolated position, not at the previous one.
    assert np.linalg.norm(estimator.centers[-1] - estimator.hands[0].mean(axis=0)) < 0.2 * np.linalg.norm(HAND[0]) + 1.0


def test_noise_is_reduced_at_rest_and_while_the_hand_moves_without_bending() -> None:
    rng = np.random.default_rng(1)
    jitters = []
    for speed in (0.0, 8.0):
        estimator = Scripted()
        tracker = HandTracker(estimator)
        errors = []
        for step in range(120):
            truth = at(speed * step - 300.0)
            estimator.hands = [truth + rng.normal(0.0, 2.0, truth.shape)]
            (hand,) = tracker.update(NOTHING, CAMERA, step / 30)
            errors.append(hand.pose.xyz - hand.pose.xyz.mean(axis=0) - HAND)
        jitters.append(np.linalg.norm(np.diff(errors[30:], axis=0), axis=-1).mean())
    unsmoothed = 2.0 * math.sqrt(2.0) * math.sqrt(8.0 / math.pi)  # mean length of a 3D normal difference
    assert jitters[0] < 0.6 * unsmoothed
    assert jitters[1] < 1.3 * jitters[0]


def test_an_infinite_cutoff_disables_smoothing() -> None:
    estimator = Scripted()
    tracker = HandTracker(estimator, smoothing=OneEuro(min_cutoff=math.inf))
    for step, x in enumerate((0.0, 30.0, -20.0)):
        estimator.hands = [at(x)]
        (hand,) = tracker.update(NOTHING, CAMERA, step / 30)
        assert hand.pose.xyz == pytest.approx(estimator.hands[0])


def test_only_lost_hands_are_localized() -> None:
    estimator = Scripted()
    tracker = HandTracker(estimator)
    estimator.hands = [at(0.0)]
    for step in range(3):
        tracker.update(NOTHING, CAMERA, step / 30)
    assert [center is None for center in estimator.centers] == [True, False, False]
    estimator.hands = [at(160.0)]  # outside the crop, but within reach
    (hand,) = tracker.update(NOTHING, CAMERA, 0.2)
    assert hand.id == 0
    assert estimator.centers[-1] is None
    assert hand.pose.xyz == pytest.approx(at(160.0), abs=80.0)


@pytest.mark.parametrize("fault", ["gone", "votes disagree"])
def test_a_lost_hand_keeps_its_id_for_half_a_second(fault: str) -> None:
    estimator = Scripted()
    tracker = HandTracker(estimator)

    def step(time: float, visible: bool) -> list[int]:
        estimator.hands = [at(0.0)] if visible or fault == "votes disagree" else []
        estimator.spread = 3.0 if visible else 30.0
        return [hand.id for hand in tracker.update(NOTHING, CAMERA, time)]

    assert step(0.0, True) == [0]
    assert step(0.1, False) == []
    assert step(0.3, True) == [0]
    assert step(0.4, False) == []
    assert step(1.0, True) == [1]


def test_two_hands_keep_their_ids_regardless_of_their_order() -> None:
    estimator = Scripted()
    tracker = HandTracker(estimator, max_hands=2)
    for step in range(40):
        left, right = at(-200.0 + 5 * step), at(200.0 - 5 * step, 100.0)  # they pass each other
        estimator.hands = [left, right] if step % 2 else [right, left]
        hands = tracker.update(NOTHING, CAMERA, step / 30)
        assert [hand.id for hand in hands] == [0, 1]
        for hand, truth in zip(hands, (right, left), strict=True):
            assert np.linalg.norm(hand.pose.xyz.mean(axis=0) - truth.mean(axis=0)) < 10.0
    estimator.hands = [left]
    assert [hand.id for hand in tracker.update(NOTHING, CAMERA, 40 / 30)] == [1]
    estimator.hands = [left, at(300.0, -100.0)]
    assert [hand.id for hand in tracker.update(NOTHING, CAMERA, 3.0)] in ([1, 2], [2, 3])


def test_two_tracks_never_share_a_hand() -> None:
    estimator = Scripted()
    tracker = HandTracker(estimator, max_hands=2)
    estimator.hands = [at(-50.0), at(50.0)]
    assert len(tracker.update(NOTHING, CAMERA, 0.0)) == 2
    estimator.hands = [at(-40.0)]
    assert [hand.id for hand in tracker.update(NOTHING, CAMERA, 1 / 30)] == [0]


def test_two_lost_hands_keep_different_ids() -> None:
    """Both reappear closer to the position of the first one."""
    estimator = Scripted()
    tracker = HandTracker(estimator, max_hands=2)
    estimator.hands = [at(-100.0), at(100.0)]
    tracker.update(NOTHING, CAMERA, 0.0)
    estimator.hands = []
    assert tracker.update(NOTHING, CAMERA, 0.1) == []
    estimator.hands = [at(-150.0), at(-60.0)]
    hands = tracker.update(NOTHING, CAMERA, 0.3)
    assert sorted(hand.id for hand in hands) == [0, 1]
    assert sorted(round(hand.pose.xyz[:, 0].mean()) for hand in hands) == [-150, -60]


def test_all_hands_of_a_frame_are_predicted_in_one_call() -> None:
    estimator = Scripted()
    tracker = HandTracker(estimator, max_hands=2, hand="right")
    estimator.hands = [at(-200.0)]
    for step in range(4):  # the search for a second hand does not predict the tracked one again
        tracker.update(NOTHING, CAMERA, step / 30)
    assert estimator.calls == [1, 1, 1, 1]
    estimator.hands = [at(-200.0), at(200.0)]
    for step in range(4, 7):
        hands = tracker.update(NOTHING, CAMERA, step / 30)
        assert [(hand.id, hand.pose.hand_index) for hand in hands] == [(0, 0), (1, 1)]
    assert estimator.calls[4:] == [2, 2, 2]


def test_a_track_starts_with_a_clear_hand_and_ends_when_it_is_probably_none() -> None:
    estimator = Scripted()
    estimator.hands, tracker = [at(0.0)], HandTracker(estimator, max_hands=2, hand="right")
    found = []
    for step, log_odds in enumerate([-5.0, 2.0, 9.0, 2.0, -1.0, 2.0, math.nan]):
        estimator.log_odds = log_odds
        found.append(len(tracker.update(NOTHING, CAMERA, step / 30)))
    # It does not start with log-odds of 2, but goes on with them. Unknown log-odds change nothing.
    assert found == [0, 0, 1, 1, 0, 0, 1]


def sides(tracker: HandTracker, first: int, count: int) -> list[list[str]]:
    """Return the sides of the hands in each of the next frames."""
    return [
        [hand.pose.hand for hand in tracker.update(NOTHING, CAMERA, step / 30)] for step in range(first, first + count)
    ]


@pytest.mark.parametrize("side", ["right", "left"])
def test_both_sides_are_compared_until_the_evidence_is_strong(side: str) -> None:
    estimator = Scripted()
    tracker = HandTracker(estimator)
    estimator.hands, estimator.sides, estimator.margin = [at(0.0)], [side], 2.0
    assert sides(tracker, 0, 100) == [[side]] * 100
    undecided = estimator.calls.index(1)
    assert estimator.calls[:undecided] == [2] * undecided
    assert 2 < undecided < 20
    assert estimator.calls[undecided:].count(2) == (100 - undecided) // 16


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_track_only_changes_its_side_after_strong_evidence(side: str) -> None:
    estimator = Scripted()
    tracker = HandTracker(estimator, hand="auto")
    other = "left" if side == "right" else "right"
    estimator.hands, estimator.sides, estimator.margin = [at(0.0)], [side], 2.0
    sides(tracker, 0, 3)
    for first in range(3, 40, 6):  # as many frames against the side as for it
        estimator.sides = [other]
        assert sides(tracker, first, 3) == [[side]] * 3
        estimator.sides = [side]
        assert sides(tracker, first + 3, 3) == [[side]] * 3
    estimator.sides = [other]
    observed = sides(tracker, 45, 90)
    assert observed == sorted(observed, key=[[side], [other]].index)  # a single change
    assert observed[-1] == [other]


def test_hands_that_touch_are_never_both_right() -> None:
    """Two right hands approach each other: they belong to two people as long as they are far apart."""
    estimator = Scripted()
    tracker = HandTracker(estimator, max_hands=2, hand="auto")
    estimator.sides, estimator.margin = ["right", "right"], 2.0
    for step in range(60):
        estimator.hands = [at(-340.0 + 5 * step), at(340.0 - 5 * step)]
        hands = tracker.update(NOTHING, CAMERA, step / 30)
        gap = np.linalg.norm(hands[0].pose.xyz.mean(axis=0) - hands[1].pose.xyz.mean(axis=0))
        observed = [hand.pose.hand for hand in hands]
        if gap > 240.0:
            assert observed == ["right", "right"]
        elif gap < 180.0:
            assert sorted(observed) == ["left", "right"]
    assert gap < 180.0


def test_a_lost_hand_keeps_its_side() -> None:
    estimator = Scripted()
    tracker = HandTracker(estimator, max_hands=2, hand="auto")
    estimator.hands, estimator.sides, estimator.margin = [at(0.0)], ["left"], 2.0
    sides(tracker, 0, 10)
    estimator.hands = []
    assert sides(tracker, 10, 3) == [[]] * 3
    estimator.hands, estimator.sides = [at(20.0)], ["right"]  # misleading for a few frames
    assert sides(tracker, 13, 3) == [["left"]] * 3


def test_invalid_arguments_are_rejected() -> None:
    tracker = HandTracker(Scripted())
    tracker.update(NOTHING, CAMERA, 1.0)
    for time in (1.0, 0.5, math.nan, math.inf):
        with pytest.raises(HandPoseError, match="frame times must increase"):
            tracker.update(NOTHING, CAMERA, time)
    with pytest.raises(HandPoseError, match="max_hands must be 1 or more"):
        HandTracker(Scripted(), max_hands=0)
    with pytest.raises(HandPoseError, match="hand must be right, left or auto"):
        HandTracker(Scripted(), hand="both")
    with pytest.raises(HandPoseError, match="above 0 Hz"):
        OneEuro(min_cutoff=0.0)


@pytest.fixture(scope="module")
def estimator() -> HandPoseEstimator:
    return HandPoseEstimator.from_pretrained("msra", device="cpu")


@pytest.fixture(scope="module")
def stream() -> list[DepthFrame]:
    return list(itertools.islice(frames(EXAMPLES / "hand.hpr"), 30))


def test_tracking_reduces_jitter_without_increasing_the_error(
    estimator: HandPoseEstimator, stream: list[DepthFrame]
) -> None:
    truth = np.array(json.loads((EXAMPLES / "hand.truth.json").read_text())["xyz_mm"])
    tracker = HandTracker(estimator)
    single, tracked = [], []
    for frame in stream:
        single.append(estimator.predict(frame.depth, camera=frame.camera).xyz)
        (hand,) = tracker.update(frame.depth, frame.camera, frame.time)
        tracked.append(hand.pose.xyz)
        assert hand.id == 0
    (error, jitter), (error_tracked, jitter_tracked) = (
        (np.linalg.norm(off, axis=-1).mean(), np.linalg.norm(np.diff(off, axis=0), axis=-1).mean())
        for off in (np.array(xyz) - truth[: len(stream)] for xyz in (single, tracked))
    )
    assert jitter_tracked < 0.7 * jitter
    assert error_tracked < error + 0.5


def test_a_hand_that_jumps_out_of_its_crop_is_recovered(estimator: HandPoseEstimator, stream: list[DepthFrame]) -> None:
    """The image jumps by 60 pixels, or 130 mm, so the crop shows only half of the hand."""
    first, second = stream[0], stream[1]
    tracker = HandTracker(estimator)
    (before,) = tracker.update(first.depth, first.camera, 0.0)
    moved = np.zeros_like(second.depth)
    moved[:, :-60] = second.depth[:, 60:]
    (after,) = tracker.update(moved, second.camera, 0.2)
    assert after.id == before.id
    truth = estimator.predict(moved, camera=second.camera).xyz
    assert np.linalg.norm(truth.mean(axis=0) - before.pose.xyz.mean(axis=0)) > 100.0
    assert np.linalg.norm(after.pose.xyz.mean(axis=0) - truth.mean(axis=0)) < 30.0
    assert tracker.update(np.zeros_like(moved), second.camera, 0.3) == []


@pytest.mark.parametrize(("number", "axis"), [(12, 0), (24, 0), (24, 1)])
def test_a_hand_that_moves_to_the_border_of_its_crop_is_cropped_again(
    estimator: HandPoseEstimator, stream: list[DepthFrame], number: int, axis: int
) -> None:
    """The image jumps by 32 pixels, or 70 mm, as in a fast motion with dropped frames."""
    first, second = stream[number], stream[number + 1]
    tracker = HandTracker(estimator, hand="right")
    tracker.update(first.depth, first.camera, 0.0)
    moved = np.roll(second.depth, 32, axis)
    np.moveaxis(moved, axis, 0)[:32] = 0
    (after,) = tracker.update(moved, second.camera, 0.1)
    truth = estimator.predict(moved, camera=second.camera, hand="right").xyz
    assert np.linalg.norm(after.pose.xyz - truth, axis=-1).mean() < 6.0


@pytest.mark.parametrize("number", [4, 12, 28])
def test_a_left_hand_is_cropped_again_as_a_right_one(
    estimator: HandPoseEstimator, stream: list[DepthFrame], number: int
) -> None:
    """It makes no difference whether the side is given or predicted."""
    first, second = (stream[i].depth[:, ::-1].copy() for i in (number, number + 1))
    camera = replace(stream[0].camera, cx=stream[0].camera.width - 1 - stream[0].camera.cx)
    for shift in (-32, 32):
        moved = np.roll(second, shift, 0)
        moved[slice(shift) if shift > 0 else slice(shift, None)] = 0
        found = []
        for hand in ("left", "auto"):
            tracker = HandTracker(estimator, hand=hand)  # type: ignore[arg-type]
            tracker.update(first, camera, 0.0)
            found += tracker.update(moved, camera, 0.1)
        assert [hand.pose.hand for hand in found] == ["left", "left"]
        assert np.allclose(found[0].pose.xyz, found[1].pose.xyz, atol=0.1)


def test_wrong_arguments_are_named() -> None:
    tracker = HandTracker(Scripted())  # type: ignore[arg-type]
    for arguments, message in (
        ((NOTHING, 1.0, CAMERA), "camera must be .* got 1.0"),
        ((NOTHING, CAMERA, "now"), "time must be a number of seconds.*got 'now'"),
        ((NOTHING, CAMERA, CAMERA), "the order is depth, camera, time; got Camera"),
        ((None, CAMERA, 1.0), "depth must be .* got None"),
        ((CAMERA, NOTHING, 1.0), "camera must be"),
    ):
        with pytest.raises(HandPoseError, match=message) as caught:
            tracker.update(*arguments)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
    tracker.update(NOTHING, CAMERA, np.float32(0.5))  # type: ignore[arg-type]
    tracker.update(NOTHING, CAMERA, np.int64(1))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [np.float32, np.int64])
def test_records_with_times_of_numpy_are_json(
    estimator: HandPoseEstimator, stream: list[DepthFrame], kind: type
) -> None:
    (hand,) = HandTracker(estimator, hand="right").update(stream[0].depth, stream[0].camera, kind(1))
    assert json.loads(json.dumps(hand.to_dict()))["time_s"] == 1.0


def test_times_in_milliseconds_are_reported_once_and_pauses_are_not() -> None:
    tracker = HandTracker(Scripted())  # type: ignore[arg-type]
    for frame in range(3):
        tracker.update(NOTHING, CAMERA, 20.0 + 1000.0 / 30.0 * frame)
    with pytest.warns(InputWarning, match="times must be in seconds"):
        tracker.update(NOTHING, CAMERA, 120.0)
    for frame in range(4, 20):
        tracker.update(NOTHING, CAMERA, 20.0 + 1000.0 / 30.0 * frame)  # warnings are errors
    tracker = HandTracker(Scripted())  # type: ignore[arg-type]
    for pause in range(10):
        for frame in range(2):
            tracker.update(NOTHING, CAMERA, 60.0 * pause + frame / 30.0)
