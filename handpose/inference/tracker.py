"""Tracks hands over time: crops predicted from the previous pose, smoothed joints, velocities and ids."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from handpose.errors import HandPoseError
from handpose.geometry.camera import Camera
from handpose.inference.estimator import HandPoseEstimator
from handpose.io.choices import Hand
from handpose.io.depth.units import DepthUnitWarning
from handpose.results.pose import HandPose

# In synthetic sequences, the mean vote spread stays below 19 mm for hands and exceeds 29 mm for half of the crops of
# other objects. From a crop 60 mm off the hand center, half of all poses are still within 3 mm of the hand.
_MAX_SPREAD = 25.0  # mm
_MAX_OFF_CENTER = 80.0  # mm

_SAME_HAND = 60.0  # mm between two poses, below which they show the same hand
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
    """A tracked hand in its latest frame, and its joints before smoothing, (J, 3) mm."""

    hand: TrackedHand
    joints: np.ndarray

    def center_at(self, time: float) -> np.ndarray:
        """Return the predicted hand center (3,) in mm at a later time."""
        elapsed = min(time - self.hand.time, _MAX_EXTRAPOLATION_S)
        joints = self.joints + self.hand.velocity * elapsed
        root = joints[self.hand.pose.layout.parents.index(-1)]
        center: np.ndarray = joints.mean(axis=0) * (1.0 - _TO_ROOT) + root * _TO_ROOT
        center[2] = max(center[2], 1.0)  # in front of the camera
        return center


class HandTracker:
    """Tracks hands through the frames of one camera.

    A tracked hand is cropped at the position extrapolated from its previous pose and velocity. It is lost when the
    votes disagree, the cube is empty, or the pose is far from the center of the cube. Lost and new hands are localized
    in the whole image.

    Args:
        estimator: Predicts the poses.
        max_hands: Maximum number of hands to track.
        hand: Which hands the frames show.
        smoothing: Settings of the filter that smooths the joints.

    Raises:
        HandPoseError: `max_hands` is below 1.
    """

    def __init__(
        self,
        estimator: HandPoseEstimator,
        *,
        max_hands: int = 1,
        hand: Hand = "right",
        smoothing: OneEuro = OneEuro(),
    ) -> None:
        if max_hands < 1:
            raise HandPoseError(f"max_hands must be 1 or more, got {max_hands}")
        self._estimator, self._max_hands, self._hand, self._smoothing = estimator, max_hands, hand, smoothing
        self._tracks: dict[int, _Track] = {}
        self._ids = itertools.count()
        self._time = -math.inf

    def update(self, depth: np.ndarray, camera: Camera, time: float) -> list[TrackedHand]:
        """Return the hands in the next frame, ordered by id.

        Args:
            depth: (H, W) mm, 0 = missing.
            camera: Camera of the frame.
            time: Time of the frame in s, later than that of the previous frame.

        Raises:
            HandPoseError: the time does not increase, or the camera does not fit the frame.
        """
        if not self._time < time < math.inf:
            raise HandPoseError(f"frame times must increase, got {time} s after {self._time} s")
        tracked = {id: track for id, track in self._tracks.items() if track.hand.time == self._time}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DepthUnitWarning)  # frames without nearby surfaces are common in a stream
            poses = self._follow(tracked, depth, camera, time)
            lost = {
                id: track
                for id, track in self._tracks.items()
                if id not in poses and time - track.hand.time < _TIMEOUT_S
            }
            for pose in self._detect(depth, camera) if len(poses) < self._max_hands else ():
                if _is_reliable(pose) and _is_separate(pose, poses.values()):
                    poses[self._claim_id(pose, lost, time)] = pose
        tracks = {id: self._track(id, poses[id], tracked.get(id), time) for id in sorted(poses)[: self._max_hands]}
        self._tracks, self._time = lost | tracks, time
        return [track.hand for track in tracks.values()]

    def _follow(self, tracks: dict[int, _Track], depth: np.ndarray, camera: Camera, time: float) -> dict[int, HandPose]:
        """Return by id the poses of the hands that are still at their predicted positions."""
        poses = {
            id: self._estimator.predict(depth, camera=camera, center=track.center_at(time), hand=track.hand.pose.hand)
            for id, track in tracks.items()
        }
        reliable: dict[int, HandPose] = {}
        # If two tracks converge on one hand, the track whose prediction was closer keeps it.
        for id in sorted((id for id in poses if _is_reliable(poses[id])), key=lambda id: _off_center(poses[id])):
            if _is_separate(poses[id], reliable.values()):
                reliable[id] = poses[id]
        return reliable

    def _detect(self, depth: np.ndarray, camera: Camera) -> list[HandPose]:
        """Return the hands in the whole image."""
        if self._max_hands == 1:  # the estimator selects the best candidate by its pose
            return [self._estimator.predict(depth, camera=camera, hand=self._hand)]
        return self._estimator.predict_hands(depth, camera=camera, max_hands=self._max_hands, hand=self._hand)

    def _claim_id(self, pose: HandPose, lost: dict[int, _Track], time: float) -> int:
        """Return the id of the nearest lost hand within reach, and remove it from `lost`; or return a new id."""
        distances = {id: float(np.linalg.norm(track.joints.mean(axis=0) - _mean(pose))) for id, track in lost.items()}
        reachable = [id for id in lost if distances[id] < _SAME_HAND + _MAX_SPEED * (time - lost[id].hand.time)]
        if not reachable:
            return next(self._ids)
        nearest = min(reachable, key=distances.__getitem__)
        del lost[nearest]
        return nearest

    def _track(self, id: int, pose: HandPose, previous: _Track | None, time: float) -> _Track:
        """Return the track with its joints smoothed, unless the previous frame did not show the hand."""
        if previous is None:
            return _Track(TrackedHand(id, time, pose, np.zeros_like(pose.xyz)), pose.xyz)
        elapsed, last, smoothing = time - previous.hand.time, previous.hand, self._smoothing
        change = (pose.xyz - previous.joints) / elapsed
        velocity = last.velocity + _weight(smoothing.velocity_cutoff, elapsed) * (change - last.velocity)
        speed = np.linalg.norm(_mean_and_offsets(velocity), axis=1, keepdims=True)
        weight = _weight(smoothing.min_cutoff + smoothing.beta * speed, elapsed)
        step = weight * _mean_and_offsets(pose.xyz - last.pose.xyz)
        xyz = last.pose.xyz + step[0] + step[1:]
        smooth = replace(pose, xyz=xyz, uvz=pose.camera.project(xyz))
        return _Track(TrackedHand(id, time, smooth, velocity), pose.xyz)


def _weight(cutoff: Any, elapsed: float) -> Any:
    """Return the weight of a new value in a low-pass filter, given its cutoff in Hz and the elapsed time in s."""
    return 1.0 / (1.0 + 1.0 / (2.0 * math.pi * cutoff * elapsed))


def _mean_and_offsets(vectors: np.ndarray) -> np.ndarray:
    """Return the mean of vectors (J, 3), followed by their offsets from it, as (J + 1, 3)."""
    mean = vectors.mean(axis=0)
    return np.concatenate([mean[None], vectors - mean])


def _is_reliable(pose: HandPose) -> bool:
    """Return whether the pose shows a hand near the center of its cube."""
    spread = float(np.linalg.norm(pose.spread, axis=1).mean())
    return pose.status != "no_hand" and spread < _MAX_SPREAD and _off_center(pose) < _MAX_OFF_CENTER


def _is_separate(pose: HandPose, others: Iterable[HandPose]) -> bool:
    """Return whether the pose shows another hand than the other poses."""
    return all(np.linalg.norm(_mean(pose) - _mean(other)) > _SAME_HAND for other in others)


def _mean(pose: HandPose) -> np.ndarray:
    mean: np.ndarray = pose.xyz.mean(axis=0)
    return mean


def _off_center(pose: HandPose) -> float:
    return float(np.linalg.norm(_mean(pose) - pose.center))
