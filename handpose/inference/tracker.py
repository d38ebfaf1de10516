"""Hands over time: each frame's crop from the last pose, smoothed joints, velocities, identities."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from handpose.choices import Hand
from handpose.errors import HandPoseError
from handpose.geometry.camera import Camera
from handpose.inference.estimator import HandPoseEstimator
from handpose.io.depth.units import DepthUnitWarning
from handpose.results.pose import HandPose

# On rendered sequences the mean spread of a hand's joints stays below 19 mm, and is above 29 in half of the crops of
# other things; from a crop 60 mm off the hand's middle the pose is still back at it within 3 mm in half of all cases.
_MOST_SPREAD = 25.0  # mm
_MOST_OFF_CENTRE = 80.0  # mm

_SAME_HAND = 60.0  # mm: closer than this, two poses are of one hand
_FASTEST = 2000.0  # mm/s that a hand may have moved while it was lost
_PATIENCE = 0.5  # s that a lost hand keeps its id
_TO_ROOT = 0.15  # of the way from the joints' mean, which lies among the fingers, to where training centred its crops
_FORESIGHT = 0.1  # s for which a velocity tells where a hand will be


@dataclass(frozen=True)
class OneEuro:
    """How joints are smoothed: a low-pass filter that opens as they move (Casiez, Roussel and Vogel, CHI 2012).

    The hand's middle is smoothed, and every joint's place about it: a hand that moves as a whole opens the first, and
    leaves the joints calm. Three coordinates share one cutoff, so that the camera's axes do not matter.

    Attributes:
        min_cutoff: of what is at rest, Hz. Lower is calmer; infinite smooths nothing.
        beta: how much the cutoff rises with speed, Hz per mm/s. Higher lags less.
        velocity_cutoff: of the velocity, Hz.
    """

    min_cutoff: float = 1.5
    beta: float = 0.15
    velocity_cutoff: float = 2.0

    def __post_init__(self) -> None:
        if not (self.min_cutoff > 0 and self.beta >= 0 and self.velocity_cutoff > 0):
            raise HandPoseError(f"cutoffs must be above 0 Hz and beta not below 0, got {self}")


@dataclass(frozen=True, eq=False)
class TrackedHand:
    """One hand in one frame.

    Attributes:
        id: the same as long as it is followed.
        time: of the frame, s.
        pose: as from the estimator, with smoothed joints.
        velocity: (J, 3) of the joints, mm/s, camera frame.
    """

    id: int
    time: float
    pose: HandPose
    velocity: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        """The pose's record with `id`, `time_s` and `velocity_mm_s`."""
        velocity = np.round(self.velocity, 1).tolist()
        return {"id": self.id, "time_s": self.time, **self.pose.to_dict(), "velocity_mm_s": velocity}


class _Track(NamedTuple):
    """A hand as it was last seen, and its joints before they were smoothed, (J, 3) mm."""

    hand: TrackedHand
    joints: np.ndarray

    def center_at(self, time: float) -> np.ndarray:
        """Where its middle (3,) should be, mm."""
        ahead = min(time - self.hand.time, _FORESIGHT)
        joints = self.joints + self.hand.velocity * ahead
        root = joints[self.hand.pose.layout.parents.index(-1)]
        center: np.ndarray = joints.mean(axis=0) * (1.0 - _TO_ROOT) + root * _TO_ROOT
        center[2] = max(center[2], 1.0)  # hands do not pass through cameras
        return center


class HandTracker:
    """Follows hands through the frames of one camera.

    A followed hand is cut out where its last pose and velocity say. When the votes disagree, the cube is empty, or the
    pose lies far off its middle, the hand is lost; lost and new hands are looked for in the whole image.

    Args:
        estimator: what predicts.
        max_hands: how many hands are followed at most.
        hand: which hands they are.
        smoothing: how joints are smoothed.

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
        """The hands in the next frame, by id; empty if there is none.

        Args:
            depth: (H, W) mm, 0 = no reading.
            camera: of `depth`.
            time: of the frame, s, after the last one's.

        Raises:
            HandPoseError: the time does not go forward, or `depth` is no image of this camera.
        """
        if not self._time < time < math.inf:
            raise HandPoseError(f"frames must come in the order of their times, got {time} s after {self._time} s")
        followed = {id: track for id, track in self._tracks.items() if track.hand.time == self._time}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DepthUnitWarning)  # frames with nothing near are usual in a stream
            found = self._follow(followed, depth, camera, time)
            lost = {
                id: track
                for id, track in self._tracks.items()
                if id not in found and time - track.hand.time < _PATIENCE
            }
            for pose in self._detect(depth, camera) if len(found) < self._max_hands else ():
                if _is_sure(pose) and _is_apart(pose, found.values()):
                    found[self._claim_id(pose, lost, time)] = pose
        tracks = {id: self._track(id, found[id], followed.get(id), time) for id in sorted(found)[: self._max_hands]}
        self._tracks, self._time = lost | tracks, time
        return [track.hand for track in tracks.values()]

    def _follow(self, tracks: dict[int, _Track], depth: np.ndarray, camera: Camera, time: float) -> dict[int, HandPose]:
        """By id, the poses of the hands that are where they should be by now."""
        poses = {
            id: self._estimator.predict(depth, camera=camera, center=track.center_at(time), hand=track.hand.pose.hand)
            for id, track in tracks.items()
        }
        found: dict[int, HandPose] = {}
        # Where two have come to one hand, it is that one's which had less far to go.
        for id in sorted((id for id in poses if _is_sure(poses[id])), key=lambda id: _off_centre(poses[id])):
            if _is_apart(poses[id], found.values()):
                found[id] = poses[id]
        return found

    def _detect(self, depth: np.ndarray, camera: Camera) -> list[HandPose]:
        """The hands in the whole image."""
        if self._max_hands == 1:  # rival places are settled by their poses
            return [self._estimator.predict(depth, camera=camera, hand=self._hand)]
        return self._estimator.predict_hands(depth, camera=camera, max_hands=self._max_hands, hand=self._hand)

    def _claim_id(self, pose: HandPose, lost: dict[int, _Track], time: float) -> int:
        """A new id, or that of the nearest lost hand which can have come to where the pose is: it is lost no more."""
        ways = {id: float(np.linalg.norm(track.joints.mean(axis=0) - _middle(pose))) for id, track in lost.items()}
        within = [id for id in lost if ways[id] < _SAME_HAND + _FASTEST * (time - lost[id].hand.time)]
        if not within:
            return next(self._ids)
        nearest = min(within, key=ways.__getitem__)
        del lost[nearest]
        return nearest

    def _track(self, id: int, pose: HandPose, before: _Track | None, time: float) -> _Track:
        """The hand with its joints smoothed, if it was there in the last frame too."""
        if before is None:
            return _Track(TrackedHand(id, time, pose, np.zeros_like(pose.xyz)), pose.xyz)
        elapsed, last, smoothing = time - before.hand.time, before.hand, self._smoothing
        change = (pose.xyz - before.joints) / elapsed
        velocity = last.velocity + _share(smoothing.velocity_cutoff, elapsed) * (change - last.velocity)
        speed = np.linalg.norm(_middle_and_about(velocity), axis=1, keepdims=True)
        share = _share(smoothing.min_cutoff + smoothing.beta * speed, elapsed)
        step = share * _middle_and_about(pose.xyz - last.pose.xyz)
        xyz = last.pose.xyz + step[0] + step[1:]
        smooth = replace(pose, xyz=xyz, uvz=pose.camera.project(xyz))
        return _Track(TrackedHand(id, time, smooth, velocity), pose.xyz)


def _share(cutoff: Any, elapsed: float) -> Any:
    """How far a low-pass filter of this cutoff, Hz, goes towards a new value."""
    return 1.0 / (1.0 + 1.0 / (2.0 * math.pi * cutoff * elapsed))


def _middle_and_about(vectors: np.ndarray) -> np.ndarray:
    """(J + 1, 3): the mean of vectors (J, 3), and what each has beyond it."""
    middle = vectors.mean(axis=0)
    return np.concatenate([middle[None], vectors - middle])


def _is_sure(pose: HandPose) -> bool:
    """Whether there is a hand in the middle of the pose's cube."""
    spread = float(np.linalg.norm(pose.spread, axis=1).mean())
    return pose.status != "no_hand" and spread < _MOST_SPREAD and _off_centre(pose) < _MOST_OFF_CENTRE


def _is_apart(pose: HandPose, others: Iterable[HandPose]) -> bool:
    """Whether it is of another hand than the others."""
    return all(np.linalg.norm(_middle(pose) - _middle(other)) > _SAME_HAND for other in others)


def _middle(pose: HandPose) -> np.ndarray:
    middle: np.ndarray = pose.xyz.mean(axis=0)
    return middle


def _off_centre(pose: HandPose) -> float:
    return float(np.linalg.norm(_middle(pose) - pose.center))
