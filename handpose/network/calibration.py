"""How far a network's joints are likely off, told from what the network and the skeleton itself show."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from handpose.errors import WeightsError
from handpose.geometry.bones import bone_deviation
from handpose.geometry.layouts import JointLayout

BAD_JOINT = 20.0
"""A joint that is farther off counts as wrong, mm."""

_LISTS = ("doubts", "errors_mm", "bones_mm")
_LEAST_SPREAD = 0.1  # mm: keeps the logarithm finite
_USUAL_DEVIATION = 0.05  # of a bone's length among people: less says nothing


@dataclass(frozen=True)
class Calibration:
    """What a network's doubts mean in mm, measured on rendered hands that it has not seen.

    A joint's doubt is `spread**joint * hand_spread**hand * (deviation + 0.05)**bone`, with the spread of the votes for
    this joint and its mean over the hand's joints in mm, and how far the joint's bone differs in length from what
    goes with the hand's other bones. Its expected error lies on straight lines between knots, from 0 mm without doubt.

    Attributes:
        joint: exponent of the joint's own spread.
        hand: exponent of the hand's mean spread.
        bone: exponent of the bone's deviation.
        doubts: knots, in ascending order.
        errors_mm: expected error at each of them, in ascending order; beyond the last it stays.
        doubtful_mm: mean of a pose's expected errors above which it is told to be wrong, by more than `BAD_JOINT` on
            average: the threshold that makes the fewest mistakes.
        bones_mm: usual length of each bone, in the order of the layout's `bones`.
    """

    joint: float
    hand: float
    bone: float
    doubts: tuple[float, ...]
    errors_mm: tuple[float, ...]
    doubtful_mm: float
    bones_mm: tuple[float, ...]

    def __post_init__(self) -> None:
        lists = (self.doubts, self.errors_mm, self.bones_mm)
        numbers = (
            self.joint,
            self.hand,
            self.bone,
            self.doubtful_mm,
            *(number for numbers in lists for number in numbers),
        )
        if not all(isinstance(number, (int, float)) and math.isfinite(number) and number >= 0 for number in numbers):
            raise WeightsError(f"a calibration is made of numbers of 0 or more, got {numbers}")
        if min(map(len, lists)) == 0 or min(map(min, lists)) == 0:
            raise WeightsError(f"a calibration's doubts, errors and bones are above 0, got {lists}")
        if len(self.doubts) != len(self.errors_mm) or any(list(knots) != sorted(knots) for knots in lists[:2]):
            raise WeightsError(f"a calibration's doubts and errors ascend together, got {lists[:2]}")

    @classmethod
    def from_dict(cls, values: object) -> Calibration:
        """The calibration with exactly these fields.

        Raises:
            WeightsError: a field is unknown, missing or out of range.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        if not isinstance(values, dict) or set(values) != set(names):
            raise WeightsError(f"expected a calibration with {', '.join(names)}, got {values!r}")
        if not all(isinstance(values[name], list) for name in _LISTS):
            raise WeightsError(f"a calibration's {', '.join(_LISTS)} are lists, got {values!r}")
        return cls(**(values | {name: tuple(values[name]) for name in _LISTS}))

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, as JSON's types."""
        return dataclasses.asdict(self) | {name: list(getattr(self, name)) for name in _LISTS}

    def expected_error(self, xyz: np.ndarray, spread: np.ndarray, layout: JointLayout) -> np.ndarray:
        """How far each joint is expected to be off, (..., J) mm.

        Args:
            xyz: (..., J, 3) predicted joints, mm.
            spread: (..., J, 3) of their votes, mm.
            layout: of the joints.
        """
        doubt = np.exp(signs_of_doubt(xyz, spread, self.bones_mm, layout) @ (self.joint, self.hand, self.bone))
        return np.interp(doubt, (0.0, *self.doubts), (0.0, *self.errors_mm))


def signs_of_doubt(xyz: np.ndarray, spread: np.ndarray, bones_mm: tuple[float, ...], layout: JointLayout) -> np.ndarray:
    """The logarithms (..., J, 3) of what `Calibration` raises to the powers `joint`, `hand` and `bone`.

    Arguments as in `Calibration.expected_error`.
    """
    own = np.maximum(np.linalg.norm(spread, axis=-1), _LEAST_SPREAD)
    deviation = np.zeros(own.shape)  # the root has no bone
    deviation[..., [child for _, child in layout.bones]] = bone_deviation(xyz, bones_mm, layout)[1]
    hand = np.broadcast_to(own.mean(axis=-1, keepdims=True), own.shape)
    signs: np.ndarray = np.log(np.stack([own, hand, deviation + _USUAL_DEVIATION], axis=-1))
    return signs
