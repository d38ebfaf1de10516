"""Finds the reason for a suspicious pose: a wrong unit or camera, disparity, interpolation, or the wrong hand.

These checks take up to tenths of a second, as most of them predict the image again. Therefore, only the first, second,
fourth, eighth, ... suspicious image of a job is checked. The other hand takes only one more pass, so it is compared in
every image in which the first pass leaves a doubt about the given hand.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace

import numpy as np

from handpose.geometry.bones import bone_deviation
from handpose.geometry.camera import Camera
from handpose.geometry.crop import HandCrop
from handpose.inference.alternatives import Predict, disparity_error, is_clearer, other_focal_lengths, other_units
from handpose.inference.candidates import Candidates, as_both_hands
from handpose.inference.check_camera import camera_warnings
from handpose.inference.check_pose import fitting_unit, is_supported
from handpose.inference.hand_odds import is_doubtful_hand
from handpose.inference.sides import DOUBTFUL_SIDE, log_odds_right
from handpose.io.choices import Hand
from handpose.io.depth.units import DepthUnit, millimeters_per_unit
from handpose.io.warn import AS_BEFORE
from handpose.network.calibration import BAD_JOINT, CLEAR_HAND, WRONG_READING, Calibration
from handpose.results.pose import HandPose, PoseWarning

PredictPerCrop = Callable[[Sequence[Candidates]], list[list[HandPose]]]
"""Predicts the poses in all crops of each of several hands, see `StagedEstimator.poses_per_crop`."""

_MUCH_NEARER = 125.0  # mm nearer than the hand center, which is outside the cube
_FALLING = 0.8  # of the next depth value
_INTERPOLATED = 0.5  # of the pixels next to missing ones
_SIDE = 0.0  # log-odds of the given hand in a single pass above which it is not compared with the other one
_CLEAR_SIDE = 6.0  # the same for a pose with a low expected error, which has larger log-odds if the hand is correct
_CLEAR_MM = 5.0  # this expected error
_AMBIGUOUS = 1.5  # ratio of the expected errors of two hands that may both be right
_ADULT = 0.85  # size of the hand of a small adult, relative to the average hand
_UNCLEAR_MM = 6.0  # expected error above which the focal lengths may be wrong
_SIMILAR = 1.4  # ratio of two units that may both fit hands of people
_FAR = 90.0  # percentile of the depth values; nearer ones may be noise in place of missing ones
_INVALID = 1e8  # mm, the distance above which a value is no measurement in any unit
_MAX_KEYS = 1000  # entries of a memory, so that it cannot grow without bound

_PLAUSIBLE = {"camera_assumed", "lens_model"}  # warnings about a camera that may have correct intrinsics

DISPARITY = PoseWarning(
    "disparity", "the image looks like disparity, which is larger for near surfaces; convert it to depth in mm"
)
INTERPOLATED = PoseWarning(
    "interpolated",
    "the image was resized with interpolation over missing pixels; resize with nearest neighbors, or use the original",
)


class Memory:
    """Counts the suspicious images of a job, and remembers the reasons that were found."""

    def __init__(self) -> None:
        self._counts: Counter[Hashable] = Counter()
        self._reasons: dict[Hashable, PoseWarning] = {}

    def reasons(
        self,
        poses: Sequence[HandPose],
        images: Sequence[Candidates],
        calibration: Calibration,
        predict: Predict,
        predict_per_crop: PredictPerCrop,
    ) -> list[tuple[PoseWarning, ...]]:
        """Return the reason for each suspicious pose, and nothing for the other poses.

        Args:
            poses: The poses.
            images: The image of each pose.
            calibration: Calibration of the weights.
            predict: Predicts another version of an image.
            predict_per_crop: Predicts a hand as a right and as a left one.
        """
        others = _other_hands(poses, images, predict_per_crop)
        examined = _clearest_per_image(poses, images)
        return [
            self._reason(pose, image, others.get(i), calibration, predict if i in examined else None)
            for i, (pose, image) in enumerate(zip(poses, images, strict=True))
        ]

    def _reason(
        self,
        pose: HandPose,
        image: Candidates,
        other: HandPose | None,
        calibration: Calibration,
        predict: Predict | None,
    ) -> tuple[PoseWarning, ...]:
        """Return the reason for a suspicious pose: that of earlier images of this kind, or a new one.

        `other` is the pose as the other hand, if that is clearer. `predict` is None if the image is not examined.
        """
        depth, query = image.depth, image.query
        if depth is None or query.center is not None:  # the center would be elsewhere in another reading of the image
            return () if other is None else (_mirrored(other),)
        uncertain = _is_uncertain(pose, depth)
        if not uncertain and not pose.error_mm.mean() > _UNCLEAR_MM:
            return () if other is None else (_mirrored(other),)
        distance = _typical_distance(depth)
        if distance is None:  # in every reading
            return ()
        key = (query.unit, query.camera, distance)
        if key in self._reasons:
            known = self._reasons[key]
            return (known if predict is None else known._replace(message=known.message + AS_BEFORE),)
        if predict is None:
            return () if other is None else (_mirrored(other),)
        if self._is_due((key, uncertain)) or other is not None:
            reason = _find_reason(pose, image, depth, other, calibration, predict)
            if reason is not None:
                if reason.code != "mirrored":  # which is a property of this image
                    self._reasons[key] = reason
                return (reason,)
        return ()

    def _is_due(self, key: Hashable) -> bool:
        """Count an image, and return whether it is the first, second, fourth, eighth, ... of its kind."""
        if len(self._counts) >= _MAX_KEYS:
            self._counts.clear()
            self._reasons.clear()
        self._counts[key] += 1
        return self._counts[key].bit_count() == 1


def _typical_distance(depth: np.ndarray) -> int | None:
    """Return the power of four that is closest to the distance of far surfaces; None for an image without depth values.

    A reason holds for images of the same kind: those in another unit, or of something else, differ in this number.
    """
    sample = depth[::8, ::8]
    values = sample[(sample > 0) & (sample < _INVALID)]
    return round(math.log(np.percentile(values, _FAR), 4.0)) if values.size else None


def two_digits(value: float) -> str:
    """Return a positive number, rounded to two digits, without an exponent."""
    return f"{float(f'{value:.2g}'):.0f}"


def is_interpolated(depth: np.ndarray) -> bool:
    """Return whether depth values were averaged with missing ones, so that they decrease toward 0 at each hole."""
    holes = low = 0
    for image in (depth, depth.T):
        for missing, edge, inner in (
            (image[:, :-2], image[:, 1:-1], image[:, 2:]),
            (image[:, 2:], image[:, 1:-1], image[:, :-2]),
        ):
            border = (missing == 0) & (edge > 0) & (inner > 0)
            holes += np.count_nonzero(border)
            low += np.count_nonzero(border & (edge < _FALLING * inner))
    return low > _INTERPOLATED * holes


def _clearest_per_image(poses: Sequence[HandPose], images: Sequence[Candidates]) -> set[int]:
    """Return the index of the clearest pose in each image; the others may show something else, such as a face."""
    clearest: dict[int, int] = {}
    for i, image in enumerate(images):
        best = clearest.setdefault(id(image.depth), i)
        if poses[i].error_mm.mean() < poses[best].error_mm.mean():
            clearest[id(image.depth)] = i
    return set(clearest.values())


def _find_reason(
    pose: HandPose,
    image: Candidates,
    depth: np.ndarray,
    other: HandPose | None,
    calibration: Calibration,
    predict: Predict,
) -> PoseWarning | None:
    """Return the reading of the image that shows the clearest hand, if it is much clearer than the pose."""
    if is_interpolated(depth):
        return INTERPOLATED
    query, camera, found = image.query, image.camera, list[tuple[float, PoseWarning]]()
    is_plausible = _is_plausible(query.camera, camera)
    if _is_uncertain(pose, depth):
        units = other_units(depth, query, predict)
        # A slightly larger or smaller hand explains a similar unit just as well.
        different = [one.error for one in units if not 1 / _SIMILAR < _ratio(one.unit, query.unit) < _SIMILAR]
        # With a wrong camera, a hand is more likely to be found in a wrong unit.
        if is_plausible and different and is_clearer(min(different), pose, WRONG_READING):
            names = " or ".join(str(one.unit) for one in units)
            text = f"read as {query.unit}, but a hand would be found with unit {names}; check the unit"
            found.append((min(different), PoseWarning("unit", text)))
        if (error := disparity_error(depth, query, pose, predict)) is not None:
            found.append((error, DISPARITY))
    if is_plausible:
        focals = other_focal_lengths(depth, query, camera, calibration, predict)
        if focals and focals[0].is_likely(pose):
            size, _ = bone_deviation(pose.xyz, calibration.bones_mm, pose.layout)
            text = (
                f"the hand is unclear with fx {camera.fx:.0f} and fy {camera.fy:.0f}, but clear with about "
                f"{two_digits(focals[0].likely_fx)}; check the camera's fx and fy, and the unit"
                f"{fitting_unit(query.unit, float(size))}"
            )
            found.append((focals[0].error, PoseWarning("focal_lengths", text)))
        if other is not None:
            error = float(other.error_mm.mean())
            is_clear = error < WRONG_READING and not math.isnan(other.side_log_odds)
            # With another plausible camera, the given hand may be as clear as the other one, which then means nothing.
            if is_clear or not any(each.error < _AMBIGUOUS * error and each.size > _ADULT for each in focals):
                found.append((error, _mirrored(other)))
    return min(found, default=(0.0, None))[1]


def _mirrored(other: HandPose) -> PoseWarning:
    return PoseWarning("mirrored", f"looks like a {other.hand} hand; check the hand, and whether the image is mirrored")


def _ratio(unit: DepthUnit, other: DepthUnit) -> float:
    return millimeters_per_unit(unit) / millimeters_per_unit(other)


def _is_uncertain(pose: HandPose, depth: np.ndarray) -> bool:
    """Return whether the image of a pose may have been read wrongly."""
    uncertain = pose.status != "ok" or pose.error_mm.mean() > CLEAR_HAND
    return uncertain or not is_supported(pose) or _is_mostly_nearer(depth, pose)


def _is_mostly_nearer(depth: np.ndarray, pose: HandPose) -> bool:
    """Return whether most of the image is nearer than the hand, as in a disparity image."""
    sample = np.ascontiguousarray(depth[::8, ::8])
    nearer = np.count_nonzero((sample > 0) & (sample < pose.center[2] - _MUCH_NEARER))
    return bool(nearer > np.count_nonzero(sample) / 2)


def _other_hands(
    poses: Sequence[HandPose], images: Sequence[Candidates], predict_per_crop: PredictPerCrop
) -> dict[int, HandPose]:
    """Return, by index, the poses as the other hand in images that look more like it than like the given hand."""
    doubtful = {
        i: both_hands_of(pose, image)
        for i, (pose, image) in enumerate(zip(poses, images, strict=True))
        if pose.status != "no_hand"
        and image.query.hand != "auto"
        and _has_doubtful_hand(pose)
        and _is_plausible(image.query.camera, image.camera)
    }
    alone = predict_per_crop([_as_other_hand(poses[i], image) for i, image in doubtful.items()])
    likely = {
        i: both for (i, both), (other,) in zip(doubtful.items(), alone, strict=True) if _is_likelier(other, poses[i])
    }
    pairs = predict_per_crop(list(likely.values()))
    others = {i: more_likely_hand(poses[i], pair) for i, pair in zip(likely, pairs, strict=True)}
    return {i: other for i, other in others.items() if other is not None}


def _is_plausible(given: Camera | None, camera: Camera) -> bool:
    """Return whether the intrinsics may be correct; with others, a hand may look like the other one."""
    return {warning.code for warning in camera_warnings(given, camera)} <= _PLAUSIBLE


def _has_doubtful_hand(pose: HandPose) -> bool:
    """Return whether the pass that predicted a pose leaves a doubt about the given hand."""
    error = pose.error_mm.mean()
    if math.isnan(pose.given_side_log_odds):
        return bool(error > CLEAR_HAND)
    return pose.given_side_log_odds < (_CLEAR_SIDE if error < _CLEAR_MM else _SIDE)


def _is_likelier(other: HandPose, pose: HandPose) -> bool:
    """Return whether a pose as the other hand is more likely than that as the given hand."""
    if math.isnan(pose.given_side_log_odds):
        return bool(other.error_mm.mean() < pose.error_mm.mean())
    return other.given_side_log_odds > pose.given_side_log_odds


def more_likely_hand(pose: HandPose, pair: Sequence[HandPose]) -> HandPose | None:
    """Return the pose as the other hand if the image looks more like it, and like a hand at all.

    Args:
        pose: The pose as the given hand.
        pair: The poses of the same crop as a right and as a left hand.
    """
    (other,) = (each for each in pair if each.hand != pose.hand)
    log_odds = log_odds_right(pair) if pose.hand == "left" else -log_odds_right(pair)
    is_hand = other.error_mm.mean() < BAD_JOINT and not is_doubtful_hand(other.hand_log_odds)
    return other if is_hand and log_odds > DOUBTFUL_SIDE else None


def both_hands_of(pose: HandPose, image: Candidates) -> Candidates:
    """Return the crops in which the hand of a pose is predicted as a right and as a left hand."""
    if image.depth is None:
        return as_both_hands(image, image.crops)
    return as_both_hands(image, [HandCrop.cut(image.depth, pose.camera, pose.center, pose.cube)])


def _as_other_hand(pose: HandPose, both: Candidates) -> Candidates:
    """Return the crop in which the hand of a pose is predicted as the other hand, given the crops of both."""
    hand: Hand = "left" if pose.hand == "right" else "right"
    crops = both.crops[1:] if hand == "left" else both.crops[:1]
    return replace(both, query=replace(both.query, hand=hand), crops=crops, areas=(1.0,))
