"""Classifies hands as right or left, jointly for the hands of one image."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from handpose.inference.candidates import Candidates
from handpose.inference.refine import most_likely, uncertainty
from handpose.io.choices import Hand
from handpose.localization.localizer import HAND_LENGTH
from handpose.network.calibration import WRONG_READING
from handpose.results.pose import HandPose

DOUBTFUL_SIDE = 3.0
"""Log-odds of a side below which it may well be the other one: probabilities below 95%."""

_SLOPE = 5.0  # log-odds per log ratio of the two uncertainties, fitted to synthetic validation images
_TOUCHING = HAND_LENGTH  # mm; two hands with centers closer than this never have the same side
_ONE_PERSON = 600.0  # mm; two hands with centers closer than this probably belong to one person
_PAIR_LOG_ODDS = 2.0  # log-odds that two hands of one person have different sides
_TOUCHING_LOG_ODDS = 100.0  # the same for hands that touch

_FRAME_WEIGHT = 0.25  # weight of the log-odds of one frame of a track; consecutive frames are nearly identical
_MAX_FRAME_LOG_ODDS = 4.0  # limit for one frame, since a network that is wrong can be very sure
_MAX_LOG_ODDS = 10.0  # limit for a track, so that a wrong side can be corrected
_DECIDED = 8.0  # log-odds from which on a track compares both sides only at intervals
_COMPARISON_INTERVAL = 15  # frames
_HYSTERESIS = 3.0  # log-odds against its side that a track must exceed to change it
_FIRST_LOG_ODDS = 2.0  # of a side that was chosen in a single frame


def select_poses(hands: Sequence[Candidates], poses: Sequence[Sequence[HandPose]]) -> list[HandPose]:
    """Return the most likely pose of each hand in one image.

    Args:
        hands: The hands; if there are several, each has the crops of one location.
        poses: The poses in the crops of each hand.
    """
    if hands[0].query.hand != "auto":
        return [most_likely(predicted, hand.areas) for hand, predicted in zip(hands, poses, strict=True)]
    if len(hands) == 1:
        return [_most_likely_side(poses[0], hands[0].areas)]
    log_odds = [log_odds_right(predicted) for predicted in poses]
    sides = classify_sides(log_odds, [hand.crops[0].center for hand in hands])
    return [_pose_of_side(*each) for each in zip(poses, sides, log_odds, strict=True)]


def _most_likely_side(poses: Sequence[HandPose], areas: Sequence[float]) -> HandPose:
    """Return the most likely pose of a hand that may be at several locations, each with a pose as both sides."""
    likely = []
    for pair in zip(poses[::2], poses[1::2], strict=True):
        log_odds = log_odds_right(pair)
        likely.append(_pose_of_side(pair, _side_of(log_odds), log_odds))
    return most_likely(likely, areas[::2])


def _pose_of_side(poses: Sequence[HandPose], side: Hand, log_odds: float) -> HandPose:
    """Return the pose as one side, with the log-odds of this side, given those of a right hand."""
    (pose,) = (pose for pose in poses if pose.hand == side)
    return with_side_log_odds(pose, log_odds)


def with_side_log_odds(pose: HandPose, log_odds: float) -> HandPose:
    """Return a pose with the log-odds of its side, given those that the hand is a right one."""
    return replace(pose, side_log_odds=log_odds if pose.hand == "right" else -log_odds)


def has_doubtful_side(pose: HandPose) -> bool:
    """Return whether the side of a hand was predicted, but may well be the other one."""
    return abs(pose.side_log_odds) < DOUBTFUL_SIDE


def compare_sides(poses: Sequence[HandPose], factor: float) -> list[HandPose]:
    """Return poses with the log-odds of their sides that follow from crops and their mirror images.

    Args:
        poses: Pairs of poses, in a crop and in its mirror image, with the log-odds that follow from one crop alone.
        factor: Factor from the difference of these log-odds.
    """
    compared = []
    for right, left in zip(poses[::2], poses[1::2], strict=True):
        log_odds = factor * (right.side_log_odds - left.side_log_odds)
        compared += [with_side_log_odds(right, log_odds), with_side_log_odds(left, log_odds)]
    return compared


def log_odds_right(poses: Sequence[HandPose]) -> float:
    """Return the log-odds that a crop shows a right hand.

    Args:
        poses: Its poses as both sides. If the weights have a side head, one of them is enough.
    """
    pose = poses[0]
    if not math.isnan(pose.side_log_odds):
        return pose.side_log_odds if pose.hand == "right" else -pose.side_log_odds
    by_hand = {pose.hand: uncertainty(pose) for pose in poses}
    return _SLOPE * math.log(by_hand["left"] / by_hand["right"])


def classify_sides(log_odds: Sequence[float], centers: Sequence[np.ndarray]) -> list[Hand]:
    """Return the most likely sides of the hands in one image.

    Each hand may belong to the same person as the nearest other hand. Two hands of one person have different sides, so
    their sides are chosen together: hands that touch are always a right and a left one, while hands that are far
    apart may belong to two people and are classified independently.

    Args:
        log_odds: Log-odds of each hand that it is a right hand.
        centers: Center (3,) of each hand in the camera frame, in mm.
    """
    sides = [_side_of(value) for value in log_odds]
    remaining = set(range(len(log_odds)))
    pairs = itertools.combinations(range(len(log_odds)), 2)
    for distance, i, j in sorted((float(np.linalg.norm(centers[i] - centers[j])), i, j) for i, j in pairs):
        if distance > _ONE_PERSON or not {i, j} <= remaining:
            continue
        remaining -= {i, j}
        same = abs(log_odds[i] + log_odds[j]) / 2.0
        different = abs(log_odds[i] - log_odds[j]) / 2.0 + _PAIR_LOG_ODDS
        if distance < _TOUCHING or different > same:
            i_is_right = log_odds[i] > log_odds[j]
            sides[i], sides[j] = ("right", "left") if i_is_right else ("left", "right")
    return sides


def joint_log_odds(log_odds: Sequence[float], centers: Sequence[np.ndarray]) -> list[float]:
    """Return the log-odds that each hand in one image is a right hand, considering the other hands.

    They are the posterior of two hands that may belong to one person. See `classify_sides` for the arguments.
    """
    joint = list(log_odds)
    for i, j in itertools.permutations(range(len(joint)), 2):
        distance = float(np.linalg.norm(centers[i] - centers[j]))
        if distance < _ONE_PERSON:
            different = _TOUCHING_LOG_ODDS if distance < _TOUCHING else _PAIR_LOG_ODDS
            joint[i] += float(np.logaddexp(different, log_odds[j]) - np.logaddexp(different + log_odds[j], 0.0))
    return joint


@dataclass(frozen=True)
class SideEvidence:
    """Evidence from the frames of a track for the side of its hand.

    Attributes:
        side: Current side.
        log_odds: Filtered log-odds that it is a right hand.
        frames: Number of frames since both sides were compared.
        error_mm: Expected error of the last pose, mm; NaN if the weights are not calibrated.
    """

    side: Hand
    log_odds: float
    frames: int = 0
    error_mm: float = math.nan

    @classmethod
    def from_poses(cls, poses: Sequence[HandPose]) -> SideEvidence:
        """Return the evidence of a first frame, given the poses in its crop, or the pose of the more likely side."""
        if _have_evidence(poses):
            log_odds = _of_frame(poses)
        else:
            log_odds = _FIRST_LOG_ODDS if poses[0].hand == "right" else -_FIRST_LOG_ODDS
        return cls(_side_of(log_odds), log_odds)

    @property
    def is_decided(self) -> bool:
        """Whether the next frame does not need to compare both sides."""
        strong = abs(self.log_odds) >= _DECIDED and self.side == _side_of(self.log_odds)
        return strong and self.frames < _COMPARISON_INTERVAL and not self.error_mm > WRONG_READING

    @property
    def is_due(self) -> bool:
        """Whether a given side is compared in this frame."""
        return self.frames % _COMPARISON_INTERVAL == 0

    @property
    def persistent_log_odds(self) -> float:
        """Log-odds that favor the current side, so that it does not change without strong evidence."""
        return self.log_odds + (_HYSTERESIS if self.side == "right" else -_HYSTERESIS)

    def updated(self, poses: Sequence[HandPose]) -> SideEvidence:
        """Return the evidence after another frame, given its poses as both hands, or only as the current side."""
        if not _have_evidence(poses):
            return replace(self, frames=self.frames + 1)
        log_odds = self.log_odds + _FRAME_WEIGHT * _of_frame(poses)
        return replace(self, log_odds=max(-_MAX_LOG_ODDS, min(log_odds, _MAX_LOG_ODDS)), frames=0)


def _side_of(log_odds: float) -> Hand:
    return "right" if log_odds >= 0.0 else "left"


def _have_evidence(poses: Sequence[HandPose]) -> bool:
    """Return whether poses say anything about the side of their hand."""
    return len(poses) > 1 or not math.isnan(poses[0].side_log_odds)


def _of_frame(poses: Sequence[HandPose]) -> float:
    """Return the limited log-odds that the hand of a frame is a right one."""
    return max(-_MAX_FRAME_LOG_ODDS, min(log_odds_right(poses), _MAX_FRAME_LOG_ODDS))
