"""Tracks hands over time: crops predicted from the previous pose, smoothed joints, velocities and ids."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from handpose.errors import HandPoseError
from handpose.geometry.camera import Camera
from handpose.inference.candidates import Candidates
from handpose.inference.check_pose import is_unlikely_hand
from handpose.inference.estimator import HandPoseEstimator, check_estimator
from handpose.inference.frame_times import FrameTimes
from handpose.inference.hand_odds import is_doubtful_hand, may_be_other_hand
from handpose.inference.query import Query
from handpose.inference.refine import SAME_HAND
from handpose.inference.sides import SideEvidence, classify_sides, with_side_log_odds
from handpose.io.arguments import check_count, check_kind
from handpose.io.choices import DEFAULT_HAND, Hand, HandOrAuto
from handpose.io.depth.read import to_depth
from handpose.io.depth.units import DepthUnit, unit_of
from handpose.io.warn import collect_warnings
from handpose.recordings.frame import DepthFrame
from handpose.results.pose import HandPose

# Of crops up to 60 mm off the hand center in synthetic images, 99.5% of the correct poses have positive log-odds of a
# hand, and so have 3% of the poses in crops of other surfaces. Nearly half of these have a spread below the limit.
_MIN_LOG_ODDS = 0.0  # of a tracked hand
_MAX_SPREAD = 25.0  # mm, for weights without a head for hands
_MAX_OFF_CENTER = 80.0  # mm
# Fast motion: of crops 70 to 80 mm off, a fifth of the poses are more than 10 mm off, all of them with both signs.
_JUMP = 45.0  # mm
_JUMP_ERROR = 1.3  # times the expected error of the previous frame

_MAX_SPEED = 2000.0  # mm/s of a hand while it is lost
_TIMEOUT_S = 0.5  # for which a lost hand keeps its id
_TO_ROOT = 0.15  # from the mean of the joints toward the root lies the point that training crops were centered on
_MAX_EXTRAPOLATION_S = 0.1


@dataclass(frozen=True)
class OneEuro:
    """Settings of the 1 euro filter: a low-pass filter whose cutoff rises with speed (Casiez et al., CHI 2012).

    It separately smooths the mean of the joints and the position of each joint relative to it, so a hand that moves
    without bending keeps calm fingers. The three coordinates share one cutoff, so the result does not depend on the
    axes of the camera.

    Attributes:
        min_cutoff: Cutoff at rest, Hz. Lower values smooth more; infinity disables smoothing.
        beta: Increase of the cutoff with speed, Hz per mm/s. Higher values reduce the lag.
        velocity_cutoff: Cutoff of the velocity, Hz.

    Raises:
        HandPoseError: a cutoff is not above 0 Hz, or beta is negative.
    """

    min_cutoff: float = 1.5
    beta: float = 0.15
    velocity_cutoff: float = 2.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            check_kind(name, value, (int, float, np.integer, np.floating), "a number")
        if not (self.min_cutoff > 0 and self.beta >= 0 and self.velocity_cutoff > 0):
            raise HandPoseError(f"cutoffs must be above 0 Hz and beta must not be negative, got {self}")


@dataclass(frozen=True, eq=False)
class TrackedHand:
    """One hand in one frame.

    Attributes:
        id: Number of the track; it stays the same while the hand is tracked.
        time: Time of the frame, s.
        pose: Pose with smoothed joints.
        velocity: (J, 3) velocity of the joints in mm/s, camera frame.
    """

    id: int
    time: float
    pose: HandPose
    velocity: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        """Return the record of the pose with `id`, `time_s` and `velocity_mm_s`."""
        velocity = np.round(self.velocity, 1).tolist()
        return {"id": self.id, "time_s": self.time, **self.pose.to_dict(), "velocity_mm_s": velocity}


class _Track(NamedTuple):
    """A tracked hand in its latest frame, its joints before smoothing, (J, 3) mm, and the evidence for its side."""

    hand: TrackedHand
    joints: np.ndarray
    evidence: SideEvidence

    def center_at(self, time: float) -> np.ndarray:
        """Return the predicted hand center (3,) in mm at a later time."""
        elapsed = min(time - self.hand.time, _MAX_EXTRAPOLATION_S)
        joints = self.joints + self.hand.velocity * elapsed
        return _crop_center(joints, self.hand.pose)

    def has_jumped(self, pose: HandPose) -> bool:
        """Return whether the hand is so far from where it was expected that the crop may have cut it off."""
        before = float(self.hand.pose.error_mm.mean())
        return _off_center(pose) > _JUMP and float(pose.error_mm.mean()) > _JUMP_ERROR * before


class _Detection(NamedTuple):
    """A hand in the current frame: its poses, as one or both hands, and the evidence for its side."""

    poses: list[HandPose]
    evidence: SideEvidence

    @property
    def likely(self) -> HandPose:
        """The pose of the side that the evidence favors."""
        return _pose_of(self.poses, "right" if self.evidence.log_odds >= 0.0 else "left") or self.poses[0]

    @property
    def may_be_elsewhere(self) -> bool:
        """Whether the pose is doubtful or, at intervals, whether it may be of the other side than the given one."""
        pose = self.likely
        return pose.status == "low_confidence" or (self.evidence.is_due and may_be_other_hand(pose.given_side_log_odds))


class HandTracker:
    """Tracks hands through the frames of one camera.

    A tracked hand is cropped at the position extrapolated from its previous pose and velocity. It is lost when the crop
    probably shows something else, the cube is empty, the pose is far from the center of the cube, or, with a single
    hand, the pose is doubtful. Lost and new hands are localized in the whole image. All hands of a frame are predicted
    in one batch, unless a hand was lost in this frame.

    With `hand="auto"`, a track collects evidence for its side. Both sides of its hand are compared until the evidence
    is strong, and then in every 15th frame and while the pose is uncertain.

    Args:
        estimator: Predicts the poses.
        max_hands: Maximum number of hands to track.
        hand: Which hands the frames show: `right`, `left`, or `auto` to classify each hand. A single tracked hand is
            the given one of several, if it is visible.
        smoothing: Settings of the filter that smooths the joints.

    Raises:
        HandPoseError: `max_hands` is below 1, or `hand` is none of these.
    """

    def __init__(
        self,
        estimator: HandPoseEstimator,
        *,
        max_hands: int = 1,
        hand: HandOrAuto = DEFAULT_HAND,
        smoothing: OneEuro = OneEuro(),
    ) -> None:
        check_estimator(estimator)
        check_count("max_hands", max_hands)
        check_kind("smoothing", smoothing, OneEuro, "a handpose.OneEuro")
        self._estimator, self._max_hands, self._query = estimator, max_hands, Query(hand=hand)
        self._smoothing = smoothing
        self._tracks: dict[int, _Track] = {}
        self._ids = itertools.count()
        self._times = FrameTimes()

    def update(self, depth: np.ndarray, camera: Camera, time: float, *, unit: DepthUnit = "mm") -> list[TrackedHand]:
        """Return the hands in the next frame, ordered by id.

        Args:
            depth: (H, W) depth values, 0 = missing.
            camera: Camera of the frame.
            time: Time of the frame in s, later than that of the previous frame.
            unit: Unit of the depth values: `mm`, `m` or mm per unit.

        Raises:
            HandPoseError: the time does not increase, the unit or the camera does not fit the frame, or an argument has
                another type.

        Warns:
            DepthUnitWarning: a hand would be found in another unit.
            InputWarning: something else is implausible, see `HandPose.warnings`, or the times are not in s.
        """
        query = replace(self._query, camera=camera, unit=unit)
        with collect_warnings([]):  # frames without nearby surfaces are common in a stream
            depth = query.load(depth)
        return self._update(depth, query, time)

    def update_frame(self, frame: DepthFrame) -> list[TrackedHand]:
        """Return the hands in the next frame of a source, ordered by id. For errors and warnings, see `update`."""
        query = replace(self._query, camera=frame.camera, unit=unit_of(frame.unit))
        return self._update(to_depth(frame.depth), query, frame.time)

    def _update(self, depth: np.ndarray, query: Query, time: float) -> list[TrackedHand]:
        """Return the hands in the next frame, whose depth (H, W) is in mm whatever the unit of the query is."""
        self._times.check(time)
        time = float(time)  # numbers of numpy cannot be written as JSON
        # Extrapolated centers may be far off.
        with collect_warnings([]):
            tracked = {id: track for id, track in self._tracks.items() if track.hand.time == self._times.last}
            detections, new = self._predict(tracked, depth, query, time)
            lost = {
                id: track
                for id, track in self._tracks.items()
                if id not in detections and time - track.hand.time < _TIMEOUT_S
            }
            if len(detections) < self._max_hands:
                if self._max_hands == 1 or any(id in lost for id in tracked):
                    new += self._detect(depth, query, [*detections.values(), *new])
                for hand in new:
                    # A stream has further frames, so a hand may wait until its pose is clear.
                    if is_doubtful_hand(hand.likely.hand_log_odds):
                        continue
                    if self._max_hands > 1 and is_unlikely_hand(hand.likely):
                        continue
                    if _is_reliable(hand.likely) and _is_separate(hand.likely, detections.values()):
                        id, track = self._claim(hand.likely, lost, time)
                        detections[id] = (
                            hand if track is None else hand._replace(evidence=track.evidence.updated(hand.poses))
                        )
            detections = {id: detections[id] for id in sorted(detections)[: self._max_hands]}
            poses = self._classify(detections, depth, query)
        poses = self._estimator.checked(poses, depth, query)
        tracks = {
            id: self._track(id, replace(pose, hand_index=index), detections[id].evidence, tracked.get(id), time)
            for index, (id, pose) in enumerate(zip(detections, poses, strict=True))
        }
        self._tracks = lost | tracks
        self._times.advance(time)
        return [track.hand for track in tracks.values()]

    def _predict(
        self, tracks: dict[int, _Track], depth: np.ndarray, query: Query, time: float
    ) -> tuple[dict[int, _Detection], list[_Detection]]:
        """Predict the hands of a frame in one batch.

        Returns:
            By id, the hands that are still at their predicted positions; and the hands at other locations, which are
            only searched if fewer hands than `max_hands` are tracked.
        """
        crops = [
            self._estimator.find(depth, replace(query, center=track.center_at(time), hand=self._hand_of(track)))
            for track in tracks.values()
        ]
        if self._max_hands > 1 and len(tracks) < self._max_hands:
            crops += self._localize(depth, query, [crop.center for hand in crops for crop in hand.crops[:1]])
        predicted = self._estimator.poses_per_crop(crops)
        self._crop_again(tracks, predicted, depth, query)
        hands = {
            id: _Detection(poses, track.evidence.updated(poses))
            for (id, track), poses in zip(tracks.items(), predicted, strict=False)
            if poses
        }
        # A single hand is found again in the whole image, where a doubtful pose may be one of half of the hand.
        find_again = self._max_hands == 1
        reliable = {
            id: hand
            for id, hand in hands.items()
            if _is_reliable(hand.likely) and not (find_again and hand.may_be_elsewhere)
        }
        detections: dict[int, _Detection] = {}
        # If two tracks converge on one hand, the track whose prediction was closer keeps it.
        for id in sorted(reliable, key=lambda id: _off_center(reliable[id].likely)):
            if _is_separate(reliable[id].likely, detections.values()):
                detections[id] = reliable[id]
        return detections, [_Detection(poses, SideEvidence.from_poses(poses)) for poses in predicted[len(tracks) :]]

    def _crop_again(
        self, tracks: dict[int, _Track], predicted: list[list[HandPose]], depth: np.ndarray, query: Query
    ) -> None:
        """Replace the poses of hands that moved too far since the previous frame by those in a second crop."""
        jumped: dict[int, tuple[Query, HandPose]] = {}
        for index, (track, poses) in enumerate(zip(tracks.values(), predicted, strict=False)):
            pose = _pose_of(poses, track.evidence.side)  # the pose as the other hand would be elsewhere
            if pose is not None and pose.status != "no_hand" and track.has_jumped(pose):
                again = replace(query, center=_crop_center(pose.xyz, pose), hand=self._hand_of(track))
                jumped[index] = again, pose
        if not jumped:
            return
        second = self._estimator.poses_per_crop([self._estimator.find(depth, again) for again, _ in jumped.values()])
        for (index, (_, first)), poses in zip(jumped.items(), second, strict=True):
            pose = _pose_of(poses, first.hand)
            if pose is not None and pose.error_mm.mean() < first.error_mm.mean():
                predicted[index] = poses

    def _hand_of(self, track: _Track) -> HandOrAuto:
        """Return which hand to predict for a track: `auto` compares both."""
        return track.evidence.side if self._query.hand != "auto" or track.evidence.is_decided else "auto"

    def _detect(self, depth: np.ndarray, query: Query, others: Sequence[_Detection]) -> list[_Detection]:
        """Return the hands in the whole image, other than those that are already predicted."""
        if self._max_hands == 1:  # the estimator selects the best candidate by its pose
            (pose,) = self._estimator.poses([self._estimator.find(depth, query)])
            predicted = [] if pose.status == "no_hand" else [[pose]]
        else:
            centers = [hand.likely.center for hand in others]
            predicted = self._estimator.poses_per_crop(self._localize(depth, query, centers))
        return [_Detection(poses, SideEvidence.from_poses(poses)) for poses in predicted]

    def _localize(self, depth: np.ndarray, query: Query, known: Sequence[np.ndarray]) -> list[Candidates]:
        """Return the crops of the hands in the whole image, other than those at known centers (3,) in mm."""
        return [
            hand
            for hand in self._estimator.find_hands(depth, query, self._max_hands, thorough=False)
            if hand.crops and all(np.linalg.norm(hand.crops[0].center - center) > SAME_HAND for center in known)
        ]

    def _classify(self, detections: dict[int, _Detection], depth: np.ndarray, query: Query) -> list[HandPose]:
        """Return the pose of each hand as the side that all evidence favors, and add this side to its evidence."""
        if query.hand != "auto":
            return [hand.poses[0] for hand in detections.values()]
        sides = classify_sides(
            [hand.evidence.persistent_log_odds for hand in detections.values()],
            [hand.likely.center for hand in detections.values()],
        )
        poses = []
        for (id, hand), side in zip(detections.items(), sides, strict=True):
            pose = _pose_of(hand.poses, side)
            if pose is None:  # a hand that was predicted as one side, but touches a hand with more evidence for it
                other = replace(query, center=hand.likely.center, hand=side)
                (pose,) = self._estimator.poses([self._estimator.find(depth, other)])
            error_mm = float(pose.error_mm.mean())
            detections[id] = hand._replace(evidence=replace(hand.evidence, side=side, error_mm=error_mm))
            poses.append(with_side_log_odds(pose, hand.evidence.log_odds))
        return poses

    def _claim(self, pose: HandPose, lost: dict[int, _Track], time: float) -> tuple[int, _Track | None]:
        """Remove the nearest lost hand within reach from `lost`, and return its id and track; or return a new id."""
        distances = {id: float(np.linalg.norm(track.joints.mean(axis=0) - _mean(pose))) for id, track in lost.items()}
        reachable = [id for id in lost if distances[id] < SAME_HAND + _MAX_SPEED * (time - lost[id].hand.time)]
        if not reachable:
            return next(self._ids), None
        nearest = min(reachable, key=distances.__getitem__)
        return nearest, lost.pop(nearest)

    def _track(self, id: int, pose: HandPose, evidence: SideEvidence, previous: _Track | None, time: float) -> _Track:
        """Return the track with its joints smoothed, unless the previous frame did not show the hand as this side."""
        if previous is None or previous.hand.pose.hand != pose.hand:
            return _Track(TrackedHand(id, time, pose, np.zeros_like(pose.xyz)), pose.xyz, evidence)
        elapsed, last, smoothing = time - previous.hand.time, previous.hand, self._smoothing
        change = (pose.xyz - previous.joints) / elapsed
        velocity = last.velocity + _weight(smoothing.velocity_cutoff, elapsed) * (change - last.velocity)
        speed = np.linalg.norm(_mean_and_offsets(velocity), axis=1, keepdims=True)
        weight = _weight(smoothing.min_cutoff + smoothing.beta * speed, elapsed)
        step = weight * _mean_and_offsets(pose.xyz - last.pose.xyz)
        xyz = last.pose.xyz + step[0] + step[1:]
        smooth = replace(pose, xyz=xyz, uvz=pose.camera.project(xyz))
        return _Track(TrackedHand(id, time, smooth, velocity), pose.xyz, evidence)


def _crop_center(joints: np.ndarray, pose: HandPose) -> np.ndarray:
    """Return the center (3,) of a crop of joints (J, 3) with the layout of a pose."""
    root = joints[pose.layout.parents.index(-1)]
    center: np.ndarray = joints.mean(axis=0) * (1.0 - _TO_ROOT) + root * _TO_ROOT
    center[2] = max(center[2], 1.0)  # in front of the camera
    return center


def _pose_of(poses: Sequence[HandPose], side: Hand) -> HandPose | None:
    """Return the pose of one side, if it is among the poses."""
    return next((pose for pose in poses if pose.hand == side), None)


def _weight(cutoff: Any, elapsed: float) -> Any:
    """Return the weight of a new value in a low-pass filter, given its cutoff in Hz and the elapsed time in s."""
    return 1.0 / (1.0 + 1.0 / (2.0 * math.pi * cutoff * elapsed))


def _mean_and_offsets(vectors: np.ndarray) -> np.ndarray:
    """Return the mean of vectors (J, 3), followed by their offsets from it, as (J + 1, 3)."""
    mean = vectors.mean(axis=0)
    return np.concatenate([mean[None], vectors - mean])


def _is_reliable(pose: HandPose) -> bool:
    """Return whether the pose shows a hand near the center of its cube."""
    if pose.status == "no_hand" or _off_center(pose) >= _MAX_OFF_CENTER:
        return False
    if math.isnan(pose.hand_log_odds):
        return float(np.linalg.norm(pose.spread, axis=1).mean()) < _MAX_SPREAD
    return pose.hand_log_odds > _MIN_LOG_ODDS


def _is_separate(pose: HandPose, others: Iterable[_Detection]) -> bool:
    """Return whether the pose shows another hand than the other poses."""
    return all(np.linalg.norm(_mean(pose) - _mean(other.likely)) > SAME_HAND for other in others)


def _mean(pose: HandPose) -> np.ndarray:
    mean: np.ndarray = pose.xyz.mean(axis=0)
    return mean


def _off_center(pose: HandPose) -> float:
    return float(np.linalg.norm(_mean(pose) - pose.center))
