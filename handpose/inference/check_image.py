"""Finds the reason for a suspicious pose: a wrong unit, disparity, interpolation, or the wrong hand.

These checks take milliseconds, because most of them predict the image again. Therefore, only the first, second, fourth,
eighth, ... suspicious image of a job is checked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import numpy as np

from handpose.geometry.crop import HandCrop
from handpose.inference.candidates import Candidates
from handpose.inference.check_pose import is_supported
from handpose.inference.query import Query
from handpose.io.depth.units import DepthUnit, distance_problem, millimeters_per_unit
from handpose.network.calibration import CLEAR_HAND, WRONG_READING
from handpose.results.pose import HandPose, PoseWarning

Predict = Callable[[np.ndarray, Query], HandPose]
"""Predicts the pose in a depth image (H, W) in mm."""

PredictCrops = Callable[[Sequence[HandCrop], Sequence[Candidates]], list[HandPose]]
"""Predicts the pose in each of several crops, given the image of each crop."""

_OTHER_UNITS: tuple[DepthUnit, ...] = ("mm", "m", 0.125, 0.25, 0.1, 10.0)
_NEAREST_MM = (350.0, 500.0, 700.0)  # assumed distance of the nearest surface in a disparity image
_NEAREST_PERCENTILE = 98.0  # of the disparities: those of the nearest surface
_MUCH_NEARER = 125.0  # mm nearer than the hand center, which is outside the cube
_FALLING = 0.8  # of the next depth value
_INTERPOLATED = 0.5  # of the pixels next to missing ones
_OTHER_HAND = 0.7  # ratio of expected errors below which the other hand is the better explanation
_OTHER_HAND_MM = 8.0  # maximum expected error of this other hand
_SIMILAR = 1.4  # ratio of two units that may both fit hands of people
_DISPARITY_MM = 7.0  # maximum expected error of a converted disparity image; converted depth images are above 7.8
_MAX_KEYS = 1000  # entries of a memory, so that it cannot grow without bound

DISPARITY = PoseWarning(
    "disparity", "the image looks like disparity, which is larger for near surfaces; convert it to depth in mm"
)
INTERPOLATED = PoseWarning(
    "interpolated",
    "the image was resized with interpolation over missing pixels; resize with nearest neighbors, or use the original",
)


class OtherUnit(NamedTuple):
    """A unit in which an image would show a hand.

    Attributes:
        unit: The unit.
        error: Expected error of the pose in mm.
        distance: Distance of the hand in mm.
    """

    unit: DepthUnit
    error: float
    distance: float


class Memory:
    """Counts the suspicious images of a job, and remembers the reasons that were found."""

    def __init__(self) -> None:
        self._counts: Counter[Hashable] = Counter()
        self._reasons: dict[Hashable, PoseWarning] = {}

    def reasons(
        self, poses: Sequence[HandPose], images: Sequence[Candidates], predict: Predict, predict_crops: PredictCrops
    ) -> list[tuple[PoseWarning, ...]]:
        """Return the reason for each suspicious pose, and nothing for the other poses.

        Args:
            poses: The poses.
            images: The image of each pose.
            predict: Predicts another version of an image.
            predict_crops: Predicts the other hand.
        """
        due = [
            i
            for i, (pose, image) in enumerate(zip(poses, images, strict=True))
            if pose.status != "no_hand" and image.query.hand != "auto" and self._is_due(("hand", image.query.hand))
        ]
        others = predict_crops([_of_other_hand(poses[i], images[i]) for i in due], [images[i] for i in due])
        mirrored = {
            i: PoseWarning(
                "mirrored", f"looks like a {other.hand} hand; check the hand, and whether the image is mirrored"
            )
            for i, other in zip(due, others, strict=True)
            if is_other_hand(poses[i], other) and other.error_mm.mean() < _OTHER_HAND_MM
        }
        return [
            (mirrored[i],) if i in mirrored else self._reason(pose, image, predict)
            for i, (pose, image) in enumerate(zip(poses, images, strict=True))
        ]

    def _reason(self, pose: HandPose, image: Candidates, predict: Predict) -> tuple[PoseWarning, ...]:
        """Return the reason for a suspicious pose: that of earlier images, or a new one."""
        depth, query = image.depth, image.query
        if depth is None or not _is_suspicious(pose, depth):
            return ()
        key = (query.unit, query.camera)
        if key not in self._reasons and self._is_due(key):
            reason = _find_reason(depth, query, pose, predict)
            if reason is not None:
                self._reasons[key] = reason
        if key in self._reasons:
            return (self._reasons[key],)
        factor = millimeters_per_unit(query.unit)
        problem = "" if pose.status == "ok" else distance_problem(depth, factor)
        return (PoseWarning("distance", problem),) if problem else ()

    def _is_due(self, key: Hashable) -> bool:
        """Count an image, and return whether it is the first, second, fourth, eighth, ... of its kind."""
        if len(self._counts) >= _MAX_KEYS:
            self._counts.clear()
            self._reasons.clear()
        self._counts[key] += 1
        return self._counts[key].bit_count() == 1


def other_units(depth: np.ndarray, query: Query, predict: Predict) -> list[OtherUnit]:
    """Return the common units in which an image shows a hand, without those of much larger expected error.

    Hands of all sizes look alike, so several units may be equally likely.

    Args:
        depth: (H, W) mm, in the unit of the query.
        query: What is known about the image.
        predict: Predicts the image in another unit.
    """
    if query.unit in ("nyu", "ho3d"):
        return []
    factor = millimeters_per_unit(query.unit)
    found = []
    for unit in _OTHER_UNITS:
        other = millimeters_per_unit(unit)
        if other == factor:
            continue
        pose = predict(depth * np.float32(other / factor), query)
        if _is_hand(pose):
            found.append(OtherUnit(unit, float(pose.error_mm.mean()), float(pose.center[2])))
    least = min((one.error for one in found), default=0.0)
    return [one for one in found if one.error <= 1.5 * least]


def is_other_hand(pose: HandPose, other: HandPose, ratio: float = _OTHER_HAND) -> bool:
    """Return whether an image looks more like the other hand, predicted as `other`."""
    return bool(other.error_mm.mean() < ratio * pose.error_mm.mean())


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


def is_disparity(depth: np.ndarray, query: Query, pose: HandPose, predict: Predict) -> bool:
    """Return whether the image shows a clearer hand if its values are disparities.

    Args:
        depth: (H, W) mm as read, 0 = missing.
        query: What is known about the image.
        pose: The pose in `depth`.
        predict: Predicts the converted image.
    """
    sample = depth[::4, ::4]
    values = sample[sample > 0]
    if not values.size:
        return False
    nearest = np.percentile(values, _NEAREST_PERCENTILE)
    for distance in _NEAREST_MM:
        inverse = np.where(depth > 0, distance * nearest / np.maximum(depth, 1e-3), 0).astype(np.float32)
        other = predict(inverse, query)
        if _is_hand(other) and _is_clearer(other.error_mm.mean(), pose, _DISPARITY_MM):
            return True
    return False


def _is_hand(pose: HandPose) -> bool:
    return pose.status == "ok" and is_supported(pose)


def _find_reason(depth: np.ndarray, query: Query, pose: HandPose, predict: Predict) -> PoseWarning | None:
    if is_interpolated(depth):
        return INTERPOLATED
    units = other_units(depth, query, predict)
    # A slightly larger or smaller hand explains a similar unit just as well.
    different = [one.error for one in units if not 1 / _SIMILAR < _ratio(one.unit, query.unit) < _SIMILAR]
    if different and _is_clearer(min(different), pose, WRONG_READING):
        names = " or ".join(str(one.unit) for one in units)
        return PoseWarning("unit", f"read as {query.unit}, but a hand would be found with unit {names}; check the unit")
    return DISPARITY if is_disparity(depth, query, pose, predict) else None


def _ratio(unit: DepthUnit, other: DepthUnit) -> float:
    return millimeters_per_unit(unit) / millimeters_per_unit(other)


def _is_suspicious(pose: HandPose, depth: np.ndarray) -> bool:
    """Return whether the image of a pose may have been read wrongly."""
    uncertain = pose.status != "ok" or pose.error_mm.mean() > CLEAR_HAND
    return uncertain or not is_supported(pose) or _is_mostly_nearer(depth, pose)


def _is_clearer(error: float, pose: HandPose, limit: float) -> bool:
    """Return whether the expected error of another version of the image is low, and much lower than that of a pose."""
    return error < limit and not error >= pose.error_mm.mean() / 2  # which is NaN without a hand


def _is_mostly_nearer(depth: np.ndarray, pose: HandPose) -> bool:
    """Return whether most of the image is nearer than the hand, as in a disparity image."""
    sample = depth[::8, ::8]
    nearer = np.count_nonzero((sample > 0) & (sample < pose.center[2] - _MUCH_NEARER))
    return bool(nearer > np.count_nonzero(sample) / 2)


def _of_other_hand(pose: HandPose, image: Candidates) -> HandCrop:
    """Return the crop of a pose, flipped."""
    if image.depth is None:
        return image.crops[0].flipped()
    return HandCrop.cut(image.depth, pose.camera, pose.center, pose.cube, mirror=pose.hand == "right")
