"""Other readings of an image in which its hand may be clearer: another unit, other focal lengths, or disparity."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from handpose.geometry.bones import bone_deviation
from handpose.geometry.camera import Camera
from handpose.inference.check_camera import MAX_FIELD_OF_VIEW, field_of_view
from handpose.inference.check_pose import is_supported
from handpose.inference.query import Query
from handpose.io.depth.units import COMMON_UNITS, DepthUnit, millimeters_per_unit
from handpose.network.calibration import Calibration
from handpose.results.pose import HandPose

Predict = Callable[[np.ndarray, Query], HandPose]
"""Predicts the pose in a depth image (H, W) in mm."""

FOCAL_RATIOS = (0.55, 0.75, 1.3, 1.6, 2.0)
"""Ratios of other focal lengths to the given one. Hands are clear with 0.9 to 1.6 times the correct focal length."""

_FOCAL_MM = 7.0  # maximum expected error with the likely focal length
_FOCAL_GAIN = 0.55  # maximum ratio of this error to that with the given focal length
_SIMILAR_FOCAL = 1.25  # ratio of two focal lengths that are about equally clear
_NEAREST_MM = (350.0, 500.0, 700.0)  # assumed distance of the nearest surface in a disparity image
_NEAREST_PERCENTILE = 98.0  # of the disparities: those of the nearest surface
_MAX_DISPARITY_MM = 6.5  # expected error of a converted disparity image; converted depth images are above 6.6


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


class OtherFocalLength(NamedTuple):
    """A focal length with which an image shows a hand.

    Attributes:
        error: Expected error of the pose in mm.
        fx: The focal length in px.
        size: Size of the hand relative to an average one.
    """

    error: float
    fx: float
    size: float

    @property
    def likely_fx(self) -> float:
        """The focal length in px with which this hand has the size of an average one."""
        return self.fx * self.size

    def is_likely(self, pose: HandPose) -> bool:
        """Return whether this is a better explanation of an image than its pose, which may be without a hand."""
        similar = 1 / _SIMILAR_FOCAL < self.likely_fx / pose.camera.fx < _SIMILAR_FOCAL
        return not similar and is_clearer(self.error, pose, _FOCAL_MM, _FOCAL_GAIN)


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
    for unit in COMMON_UNITS:
        other = millimeters_per_unit(unit)
        if other == factor:
            continue
        pose = predict(depth * np.float32(other / factor), query)
        if _is_hand(pose):
            found.append(OtherUnit(unit, float(pose.error_mm.mean()), float(pose.center[2])))
    least = min((one.error for one in found), default=0.0)
    return [one for one in found if one.error <= 1.5 * least]


def other_focal_lengths(
    depth: np.ndarray,
    query: Query,
    camera: Camera,
    calibration: Calibration,
    predict: Predict,
    ratios: Sequence[float] = FOCAL_RATIOS,
) -> list[OtherFocalLength]:
    """Return other focal lengths with which an image shows a hand, the clearest one first.

    A focal length that is too small enlarges everything across the image, so the hand does not fit into its cube and a
    face may look like a hand. One that is up to 1.6 times too large makes the hand look like a smaller one, which is as
    clear. Therefore, only the size of the hand can determine the focal length exactly.

    Args:
        depth: (H, W) mm.
        query: What is known about the image.
        camera: Camera of the image.
        calibration: Calibration of the weights.
        predict: Predicts the image with another camera.
        ratios: Ratios of the other focal lengths to the given one.
    """
    found = []
    for ratio in ratios:
        other = replace(camera, fx=camera.fx * ratio, fy=camera.fy * ratio)
        if field_of_view(other) > MAX_FIELD_OF_VIEW:
            continue
        hand = predict(depth, replace(query, camera=other))
        if _is_hand(hand):
            size, _ = bone_deviation(hand.xyz, calibration.bones_mm, hand.layout)
            found.append(OtherFocalLength(float(hand.error_mm.mean()), other.fx, float(size)))
    return sorted(found)


def disparity_error(depth: np.ndarray, query: Query, pose: HandPose, predict: Predict) -> float | None:
    """Return the expected error in mm of the hand that an image shows if its values are disparities.

    Args:
        depth: (H, W) mm as read, 0 = missing.
        query: What is known about the image.
        pose: The pose in `depth`.
        predict: Predicts the converted image.

    Returns:
        The error, or None if the hand is not much clearer than the pose.
    """
    sample = depth[::4, ::4]
    values = sample[sample > 0]
    if not values.size:
        return None
    nearest = np.percentile(values, _NEAREST_PERCENTILE)
    for distance in _NEAREST_MM:
        inverse = np.where(depth > 0, distance * nearest / np.maximum(depth, 1e-3), 0).astype(np.float32)
        other = predict(inverse, query)
        if _is_hand(other) and is_clearer(error := float(other.error_mm.mean()), pose, _MAX_DISPARITY_MM):
            return error
    return None


def is_clearer(error: float, pose: HandPose, limit: float, gain: float = 0.5) -> bool:
    """Return whether the expected error of another reading of the image is low, and much lower than that of a pose."""
    return error < limit and not error >= gain * pose.error_mm.mean()  # which is NaN without a hand


def _is_hand(pose: HandPose) -> bool:
    return pose.status == "ok" and is_supported(pose)
