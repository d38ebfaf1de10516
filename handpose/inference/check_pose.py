"""Checks whether the location and the size of a hand are plausible, in microseconds.

The messages contain no value that changes from frame to frame, so a repeated warning has the same text.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from handpose.geometry.bones import bone_lengths
from handpose.inference.hand_odds import is_doubtful_hand
from handpose.inference.query import AssumedCameraWarning, Query
from handpose.inference.sides import DOUBTFUL_SIDE
from handpose.io.depth.units import COMMON_UNITS, DepthUnit, DepthUnitWarning, millimeters_per_unit
from handpose.io.warn import InputWarning, Note
from handpose.network.calibration import CLEAR_HAND, Calibration
from handpose.network.config import TRAINED_RANGE
from handpose.results.pose import HandPose, PoseWarning

SUPPORTED = f"{TRAINED_RANGE[0]:.0f} to {TRAINED_RANGE[1]:.0f} mm"

_HAND_SIZE = (0.6, 1.4)  # relative to the average hand; synthetic children and adults are between 0.65 and 1.26
_USUAL = 1.2  # ratio of the sizes of most hands to that of the average hand, or the other way around
_SIMILAR_UNIT = 1.5  # ratio of two units
_MAX_FROM_CENTER = 65.0  # mm from the given center to the mean of the joints, above which errors grow
_CATEGORIES = {"camera_assumed": AssumedCameraWarning, "unit": DepthUnitWarning, "distance": DepthUnitWarning}


def issue(found: Iterable[PoseWarning], image: str = "") -> None:
    """Issue the warnings of a pose, or of the image with this name, as Python warnings."""
    for code, message in found:
        category = _CATEGORIES.get(code, InputWarning)
        Note(message, category, image, is_named=category is DepthUnitWarning).issue()


def hand_warnings(
    poses: Sequence[HandPose], queries: Sequence[Query], calibration: Calibration
) -> list[tuple[PoseWarning, ...]]:
    """Return what is implausible about the location and the size of each hand.

    Args:
        poses: The poses.
        queries: The query of each pose.
        calibration: Calibration of the weights.
    """
    if not poses:
        return []
    lengths = bone_lengths(np.stack([pose.xyz for pose in poses]), poses[0].layout)
    sizes = lengths.sum(axis=-1) / sum(calibration.bones_mm)
    return [
        () if pose.status == "no_hand" else _hand(pose, query, size)
        for pose, query, size in zip(poses, queries, sizes.tolist(), strict=True)
    ]


def is_supported(pose: HandPose) -> bool:
    """Return whether the weights were trained for hands at this distance."""
    return bool(TRAINED_RANGE[0] <= pose.center[2] <= TRAINED_RANGE[1])


def _hand(pose: HandPose, query: Query, size: float) -> tuple[PoseWarning, ...]:
    """Return what is implausible about the location and the size of a hand."""
    found = []
    if not is_supported(pose):
        text = f"the hand is not at {SUPPORTED}, the distances that the weights were trained for; check the unit"
        found.append(PoseWarning("range", text))
    if query.center is not None and np.linalg.norm(pose.xyz.mean(axis=0) - pose.center) > _MAX_FROM_CENTER:
        text = (
            f"the joints are more than {_MAX_FROM_CENTER:.0f} mm from the given hand center; it must be in mm in the "
            "camera frame with y down"
        )
        found.append(PoseWarning("center_far", text))
    if pose.side_log_odds < DOUBTFUL_SIDE:
        other = "left" if pose.hand == "right" else "right"
        found.append(PoseWarning("side", f"may be a {other} hand; specify the hand if you know it"))
    if not _HAND_SIZE[0] <= size <= _HAND_SIZE[1] and pose.error_mm.mean() < CLEAR_HAND:
        limit = f"less than {_HAND_SIZE[0]:g}" if size < 1 else f"more than {_HAND_SIZE[1]:g}"
        text = (
            f"the hand is {limit} times as large as an average one; check the unit"
            f"{fitting_unit(pose.depth_unit, size)} and the camera's fx and fy"
        )
        found.append(PoseWarning("hand_size", text))
    return tuple(found)


def fitting_unit(unit: DepthUnit, size: float) -> str:
    """Return the remark that a hand would have a usual size in another common unit, or an empty text.

    A similar unit is not named, because a wrong focal length changes the size as much.

    Args:
        unit: The unit in which the image was read.
        size: Size of the hand in this unit, relative to an average hand.
    """
    for other in COMMON_UNITS:
        ratio = millimeters_per_unit(other) / millimeters_per_unit(unit)
        if 1 / _USUAL < size * ratio < _USUAL and not 1 / _SIMILAR_UNIT < ratio < _SIMILAR_UNIT:
            return f" ({other} would fit)"
    return ""


def is_unlikely_hand(pose: HandPose) -> bool:
    """Return whether one of several locations in an image probably shows something else, such as a face."""
    if math.isnan(pose.hand_log_odds):
        return bool(pose.error_mm.mean() > CLEAR_HAND)
    return is_doubtful_hand(pose.hand_log_odds)


def doubt_unlikely_hands(poses: Sequence[HandPose]) -> list[HandPose]:
    """Return the poses of one image; if there are several, those of unlikely hands have the status `low_confidence`."""
    unlikely = [len(poses) > 1 and pose.status == "ok" and is_unlikely_hand(pose) for pose in poses]
    return [
        replace(pose, status="low_confidence") if flag else pose for pose, flag in zip(poses, unlikely, strict=True)
    ]
