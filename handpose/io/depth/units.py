"""Units of stored depth values."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from handpose.errors import HandPoseError, brief
from handpose.io.warn import InputWarning, Note

DepthUnit = Literal["mm", "m", "nyu", "ho3d"] | float
"""Unit of stored values: `mm`, `m`, millimeters per stored unit, or a color PNG with two bytes per value: `nyu` (mm,
G*256 + B) or `ho3d` (0.125 mm, G*256 + R)."""

Coding = Literal["nyu", "ho3d"]
"""A unit that is also a coding of the values in a color PNG."""

_MILLIMETERS = {"mm": 1.0, "m": 1000.0, "nyu": 1.0, "ho3d": 0.12498664727900177}  # the last as its authors state it


class DepthUnitWarning(InputWarning):
    """The depth values of an image are implausible in the given unit, or a hand would be found in another unit."""


def millimeters_per_unit(unit: DepthUnit) -> float:
    """Return the length of one stored unit in mm.

    Raises:
        HandPoseError: The unit is unknown or not between 1e-6 and 1e6 mm.
    """
    if isinstance(unit, str) and unit in _MILLIMETERS:
        return _MILLIMETERS[unit]
    if isinstance(unit, (int, float)) and not isinstance(unit, bool) and 1e-6 <= unit <= 1e6:
        return float(unit)
    raise HandPoseError(f"unit must be mm, m, nyu, ho3d or a number of millimeters per stored unit, got {brief(unit)}")


def unit_of(millimeters: float) -> DepthUnit:
    """Return the unit of this length in mm by its name, if it has one."""
    return {1.0: "mm", 1000.0: "m"}.get(millimeters, millimeters)  # type: ignore[return-value] # they are units


def parse_unit(text: str) -> DepthUnit:
    """Parse `mm`, `m`, `nyu`, `ho3d` or a number of millimeters per stored unit.

    Raises:
        HandPoseError: The text is none of these.
    """
    try:
        unit: DepthUnit = float(text)
    except ValueError:
        unit = text  # type: ignore[assignment] # checked below
    millimeters_per_unit(unit)
    return unit


_PLAUSIBLE_MM = (80.0, 2500.0)  # distance of the nearest surface in an image with a hand
_NEAREST_PERCENT = 2.0  # of the depth values are smaller than that of this surface
_TYPICAL_MM = 450.0  # distance of this surface, by which two codings are distinguished
_HAND_MM = (150.0, 1500.0)  # likely distance of this surface
_TOO_NEAR_MM = 200.0  # most of an image is farther away than this, unless its unit is too small
COMMON_UNITS: tuple[DepthUnit, ...] = ("mm", "m", 0.125, 0.25, 0.1, 10)
"""Units of common depth cameras and file formats."""


def warn_about_sign(depth: np.ndarray, stored: np.ndarray, name: str) -> None:
    """Warn if an image has no depth values because they are negative, as z is where the camera looks along -z.

    Args:
        depth: (H, W) in mm, 0 = no depth value.
        stored: (H, W) the values that it was converted from.
        name: Name of the image.

    Warns:
        DepthUnitWarning: All values are negative or missing.
    """
    if stored.dtype.kind == "u" or depth[::8, ::8].any() or depth.any():  # most images have values in the sample
        return
    with np.errstate(invalid="ignore"):
        is_negative = bool((stored < 0).any())
    if is_negative:
        problem = "the depth values are negative, but depth must be positive in front of the camera"
        Note(problem, DepthUnitWarning, name).issue()


def likely_coding(stored: np.ndarray) -> Coding:
    """Return the coding in which the nearest surface of an image is closer to the usual distance of a hand.

    Args:
        stored: (H, W) values of a color PNG with two bytes per value, 0 = no depth value.
    """
    between = _TYPICAL_MM / math.sqrt(millimeters_per_unit("ho3d"))
    return "nyu" if _nearest(stored) < between else "ho3d"


def coding_problem(depth: np.ndarray, unit: DepthUnit) -> str:
    """Return the reason why an image was probably saved in the other of two codings, or an empty string.

    Args:
        depth: (H, W) in mm, 0 = no depth value.
        unit: The unit in which it was read.
    """
    if unit not in ("nyu", "ho3d"):
        return ""
    near = _nearest(depth)
    other: Coding = "nyu" if unit == "ho3d" else "ho3d"
    in_other = near / millimeters_per_unit(unit) * millimeters_per_unit(other)
    if _HAND_MM[0] <= near <= _PLAUSIBLE_MM[1] or not _HAND_MM[0] <= in_other <= _HAND_MM[1]:
        return ""
    return (
        f"the nearest surface is at {near:,.0f} mm, too near or far for a hand, but at {in_other:,.0f} mm in unit "
        f"{other} with red and blue swapped; swap them, which programs such as OpenCV order differently, and pass unit "
        f"{other}"
    )


def _nearest(values: np.ndarray) -> float:
    """Return the value of the nearest surface in an image (H, W), 0 = missing."""
    sample = values[::4, ::4]
    known = sample[sample > 0]
    return float(np.percentile(known, _NEAREST_PERCENT)) if known.size else 0.0


def warn_about_unit(depth: np.ndarray, unit: DepthUnit, name: str, *, integers: bool) -> None:
    """Warn if the nearest surface in an image is not at the distance of a hand, and suggest a likely unit.

    Args:
        depth: (H, W) in mm, 0 = no depth value.
        unit: The unit in which the image was read.
        name: Name of the image.
        integers: Whether the values were stored as integers, which are never meters.

    Warns:
        DepthUnitWarning: The distance is implausible.
    """
    problem = coding_problem(depth, unit) or _distance_problem(depth, millimeters_per_unit(unit), integers=integers)
    if problem:
        Note(problem, DepthUnitWarning, name).issue()


def _distance_problem(depth: np.ndarray, factor: float, *, integers: bool) -> str:
    """Return the reason why the unit of an image is implausible, with a likely unit, or an empty string.

    Args:
        depth: (H, W) in mm, 0 = no depth value.
        factor: Length in mm of the unit in which the image was read.
        integers: Whether the values were stored as integers, which are never meters.
    """
    sample = np.ascontiguousarray(depth[::4, ::4])
    known = np.count_nonzero(sample > 0)
    if known < 50:
        return ""
    rank = sample.size - known + round(known * _NEAREST_PERCENT / 100)  # of the nearest surface
    # Counting takes a fraction of the time of sorting.
    if np.count_nonzero(sample < _PLAUSIBLE_MM[0]) <= rank < np.count_nonzero(sample <= _PLAUSIBLE_MM[1]):
        return ""
    near = float(np.partition(sample, rank, axis=None)[rank])
    if near < _PLAUSIBLE_MM[0] and np.percentile(sample[sample > 0], 90) > _TOO_NEAR_MM:
        return ""  # only an object in front of the scene is near
    likely = [
        unit
        for unit in COMMON_UNITS
        if _HAND_MM[0] <= near / factor * millimeters_per_unit(unit) <= _HAND_MM[1] and not (integers and unit == "m")
    ]
    # Hands of all sizes look alike: a wrong one of several units would not be noticed.
    hint = f"; its unit is likely {' or '.join(map(str, likely))}" if likely else ""
    return f"the nearest surface is at {near:,.0f} mm, too near or far for a hand{hint}"
