"""Calibration: the expected error of each joint, estimated from vote spreads, bone lengths and refinement passes."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from handpose.errors import WeightsError
from handpose.geometry.bones import bone_deviation
from handpose.geometry.layouts import JointLayout

CLEAR_HAND = 12.0
"""Expected error in mm below which a pose is clearly that of a hand, and its size is reliable."""

WRONG_READING = 15.0
"""Expected error in mm that poses usually exceed if an image is read as the wrong hand, or in a wrong unit.

In any wrong unit, the errors of correct images are above 21 mm.
"""

BAD_JOINT = 20.0
"""Error above which a joint counts as wrong, and mean expected error above which a pose is doubted, mm."""

MIN_APART = 1.0
"""Added to distances between passes, since smaller ones mean nothing, mm."""

_LISTS = ("doubts", "errors_mm", "bones_mm")
_MIN_SPREAD = 0.1  # mm: keeps the logarithm finite
_USUAL_DEVIATION = 0.05  # variation of bone lengths among people: smaller deviations mean nothing


@dataclass(frozen=True)
class Calibration:
    """Maps uncertainty scores of joints to expected errors, measured on synthetic hands outside the training data.

    The uncertainty score of a joint is `spread**joint * hand_spread**hand * (deviation + 0.05)**bone`: the vote spread
    of the joint and its mean over all joints in mm, and the deviation of the joint's bone (see `bone_deviation`).
    The expected error is a piecewise linear function of the score that starts at 0 mm for a score of 0. If there were
    refinement passes, it is multiplied by `((apart + 1) / (passes_mm + 1))**passes`, where `apart` is the joint's mean
    distance in mm to the same joint in the other passes.

    Attributes:
        joint: Exponent of the joint's vote spread.
        hand: Exponent of the mean vote spread of the hand.
        bone: Exponent of the bone's deviation.
        doubts: Uncertainty scores of the knots, ascending.
        errors_mm: Expected error at each knot, ascending; it stays constant beyond the last knot.
        bones_mm: Average length of each bone, in the order of the layout's `bones`.
        passes: Exponent of the distance between passes.
        passes_mm: Distance between passes that does not change the expected error.
    """

    joint: float
    hand: float
    bone: float
    doubts: tuple[float, ...]
    errors_mm: tuple[float, ...]
    bones_mm: tuple[float, ...]
    passes: float = 0.0
    passes_mm: float = 0.0

    def __post_init__(self) -> None:
        lists = (self.doubts, self.errors_mm, self.bones_mm)
        numbers = (
            self.joint,
            self.hand,
            self.bone,
            self.passes,
            self.passes_mm,
            *(number for numbers in lists for number in numbers),
        )
        if not all(isinstance(number, (int, float)) and math.isfinite(number) and number >= 0 for number in numbers):
            raise WeightsError(f"the numbers of a calibration must be finite and at least 0, got {numbers}")
        if min(map(len, lists)) == 0 or min(map(min, lists)) == 0:
            raise WeightsError(f"doubts, errors_mm and bones_mm of a calibration must be above 0, got {lists}")
        if len(self.doubts) != len(self.errors_mm) or any(list(knots) != sorted(knots) for knots in lists[:2]):
            raise WeightsError(f"doubts and errors_mm of a calibration must both be ascending, got {lists[:2]}")

    @classmethod
    def from_dict(cls, values: object) -> Calibration:
        """Create a calibration from these fields; those that have a default may be missing.

        The former field `doubtful_mm` is ignored.

        Raises:
            WeightsError: a field is unknown, missing or out of range.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        required = {field.name for field in dataclasses.fields(cls) if field.default is dataclasses.MISSING}
        if isinstance(values, dict):
            values = {name: value for name, value in values.items() if name != "doubtful_mm"}
        if not isinstance(values, dict) or not required <= set(values) <= set(names):
            raise WeightsError(f"expected a calibration with {', '.join(names)}, got {values!r}")
        if not all(isinstance(values[name], list) for name in _LISTS):
            raise WeightsError(f"{', '.join(_LISTS)} of a calibration must be lists, got {values!r}")
        return cls(**(values | {name: tuple(values[name]) for name in _LISTS}))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, as JSON types."""
        return dataclasses.asdict(self) | {name: list(getattr(self, name)) for name in _LISTS}

    def expected_error(
        self, xyz: np.ndarray, spread: np.ndarray, layout: JointLayout, *, apart: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the expected error of each joint, (..., J) mm.

        Args:
            xyz: (..., J, 3) predicted joints, mm.
            spread: (..., J, 3) spread of their votes, mm.
            layout: Layout of the joints.
            apart: (..., J) mean distance of each joint to the same joint in other passes, mm; None for a single pass.
        """
        powers, scores, errors_mm = self._arrays
        score = np.exp(uncertainty_features(xyz, spread, self.bones_mm, layout) @ powers)
        expected: np.ndarray = np.interp(score, scores, errors_mm)
        if apart is None:
            return expected
        return expected * np.exp(self.passes * (passes_feature(apart) - math.log(self.passes_mm + MIN_APART)))

    @cached_property
    def _arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The exponents, and the scores and the expected errors at the knots, starting at 0."""
        knots = ((self.joint, self.hand, self.bone), (0.0, *self.doubts), (0.0, *self.errors_mm))
        powers, scores, errors_mm = map(np.array, knots)
        return powers, scores, errors_mm


def uncertainty_features(
    xyz: np.ndarray, spread: np.ndarray, bones_mm: tuple[float, ...], layout: JointLayout
) -> np.ndarray:
    """Return the logarithms (..., J, 3) of the factors of the uncertainty score, in the order `joint`, `hand`, `bone`.

    The arguments are those of `Calibration.expected_error`, and the `bones_mm` of the calibration.
    """
    joint = np.maximum(np.sqrt(np.square(spread).sum(axis=-1)), _MIN_SPREAD)
    features = np.empty((*joint.shape, 3))
    features[..., 0] = joint
    features[..., 1] = joint.mean(axis=-1, keepdims=True)
    features[..., 2] = _USUAL_DEVIATION  # the root has no bone
    features[..., [child for _, child in layout.bones], 2] += bone_deviation(xyz, bones_mm, layout)[1]
    logarithms: np.ndarray = np.log(features)
    return logarithms


def passes_feature(apart: np.ndarray) -> np.ndarray:
    """Return the logarithms (...) of distances between passes (...) in mm, in which small ones count as equal."""
    feature: np.ndarray = np.log(apart + MIN_APART)
    return feature
