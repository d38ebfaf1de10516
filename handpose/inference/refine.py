"""Selects the most likely pose of an image and refines uncertain ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from handpose.geometry.crop import HandCrop
from handpose.inference.candidates import Candidates
from handpose.inference.decode import status_of
from handpose.inference.hand_odds import CERTAIN_HAND, may_be_other_hand, probability
from handpose.localization.network import NEAREST
from handpose.network.calibration import Calibration
from handpose.results.pose import HandPose

SAME_HAND = 60.0
"""Distance in mm between two poses below which they show the same hand."""

_MAX_PASSES = 3  # through the network: the first, and refinement passes
_CONFIDENT_MM = 8.0  # expected error below which a pose is not refined
_SIDE_WEIGHT = 0.5  # of the log-odds of a given side, which follow from one pass and are often too large


def most_likely(poses: Sequence[HandPose], areas: Sequence[float]) -> HandPose:
    """Return the most likely pose of several candidates for a hand.

    It has the largest visible area, in mm^2, relative to its uncertainty, and weighted with the probabilities that it
    is a hand and, if the side is given, of this side.
    """
    return max(zip(poses, areas, strict=True), key=lambda pair: pair[1] * _likelihood(pair[0]))[0]


def _likelihood(pose: HandPose) -> float:
    is_given_side = probability(_SIDE_WEIGHT * pose.given_side_log_odds)
    return probability(pose.hand_log_odds) * is_given_side / uncertainty(pose)


def may_be_elsewhere(pose: HandPose) -> bool:
    """Return whether the hand may be at another location, because this pose is not good, or not of the given side."""
    return pose.status != "ok" or may_be_other_hand(pose.given_side_log_odds)


def is_more_likely(pose: HandPose, other: HandPose) -> bool:
    """Return whether a pose is certainly a hand, and more likely to be the one in its image than another pose."""
    if pose.hand_log_odds < CERTAIN_HAND:
        return False
    if other.status == "no_hand":
        return True
    is_clearer = pose.hand_log_odds > other.hand_log_odds or pose.given_side_log_odds > other.given_side_log_odds
    return is_clearer and _likelihood(pose) > _likelihood(other)


def with_certain_hands(hands: Sequence[Candidates], poses: Sequence[Sequence[HandPose]]) -> Sequence[Candidates]:
    """Return the hands of an image, nearest first: the likely ones, and the faint ones that are certainly hands.

    Args:
        hands: The hands. If none is likely, the first one has no crops.
        poses: The poses in the crops of each faint hand that may be one; empty for all others.
    """
    found = [hand for hand in hands if hand.crops and not hand.is_faint]
    centers = [hand.crops[0].center for hand in found]
    clearest = [
        (hand, max(own, key=lambda pose: pose.hand_log_odds)) for hand, own in zip(hands, poses, strict=True) if own
    ]
    for hand, pose in sorted(clearest, key=lambda pair: -pair[1].hand_log_odds):
        center = pose.xyz.mean(axis=0)
        is_separate = all(np.linalg.norm(center - other) > SAME_HAND for other in centers)
        if len(found) < hand.max_hands and pose.hand_log_odds >= CERTAIN_HAND and is_separate:
            found.append(hand)
            centers.append(center)
    found = sorted(found, key=lambda hand: hand.crops[0].center[2]) or [hands[0]]
    return [replace(hand, hand_index=i, notes=() if i else hands[0].notes) for i, hand in enumerate(found)]


def all_passes(
    poses: Sequence[HandPose],
    images: Sequence[Candidates],
    predict: Callable[[Sequence[HandCrop], Sequence[Candidates]], list[HandPose]],
) -> list[list[HandPose]]:
    """Return the poses of each image: the given one, and those of refinement passes.

    An uncertain pose is predicted again from a crop around it.

    Args:
        poses: The pose of each image.
        images: The images; those whose hand was not localized have one pass, and so do all without a calibration.
        predict: Returns the poses in crops, given the image of each crop.
    """
    passes = [[pose] for pose in poses]
    previous = {i: pose for i, pose in enumerate(poses) if images[i].is_localized}
    for _ in range(_MAX_PASSES - 1):
        crops = {
            i: _crop_around(pose, depth)
            for i, pose in previous.items()
            if (depth := images[i].depth) is not None
            and pose.error_mm.mean() > _CONFIDENT_MM
            and pose.xyz[:, 2].mean() > NEAREST
        }
        refined = predict(list(crops.values()), [images[i] for i in crops])
        previous = dict(zip(crops, refined, strict=True))
        for i, pose in previous.items():
            passes[i].append(pose)
    return passes


def combine_passes(passes: Sequence[HandPose], calibration: Calibration | None) -> HandPose:
    """Return the least uncertain pose of all passes of a hand.

    Unless it is confident, its expected error is lower than that of a single pass if the passes are close together, and
    otherwise higher.

    Args:
        passes: The poses.
        calibration: Calibration of the weights.
    """
    best, apart = least_uncertain(passes)
    if best is not passes[0] and not math.isnan(passes[0].side_log_odds):
        best = replace(best, side_log_odds=passes[0].side_log_odds)  # refinement passes do not predict the side
    if calibration is None or apart is None or not calibration.passes:
        return best
    error_mm = calibration.expected_error(best.xyz, best.spread, best.layout, apart=apart)
    return replace(best, error_mm=error_mm, status=status_of(error_mm, best.hand_log_odds))


def least_uncertain(passes: Sequence[HandPose]) -> tuple[HandPose, np.ndarray | None]:
    """Return the least uncertain of the poses of a hand, and how far the others are from it.

    The latter is the mean distance (J,) of each joint to the same joint in the other poses, mm. It is None without
    others, and for a confident pose, because a pass from a poor crop says nothing about one from a good crop.
    """
    best = min(passes, key=uncertainty)
    if len(passes) == 1 or best.error_mm.mean() <= _CONFIDENT_MM:
        return best, None
    return best, np.mean([np.linalg.norm(best.xyz - pose.xyz, axis=-1) for pose in passes if pose is not best], axis=0)


def _crop_around(pose: HandPose, depth: np.ndarray) -> HandCrop:
    return HandCrop.cut(depth, pose.camera, pose.xyz.mean(axis=0), pose.cube, mirror=pose.hand == "left")


def uncertainty(pose: HandPose) -> float:
    """Return the mean expected error in mm, or, without a calibration, the variance of the votes in mm^2."""
    return float(np.square(pose.spread).sum() if np.isnan(pose.error_mm).any() else pose.error_mm.mean())
