"""Checks arguments of public functions, whose types Python does not check."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from handpose.errors import HandPoseError, brief


def check_choice(name: str, value: object, choices: Sequence[str | int]) -> None:
    """Check that an argument is one of several names or numbers.

    Raises:
        HandPoseError: It is something else.
    """
    if not isinstance(value, (str, int, np.integer)) or value not in choices:
        *others, last = map(str, choices)
        raise HandPoseError(f"{name} must be {', '.join(others)} or {last}, got {brief(value)}")


def check_count(name: str, value: object) -> None:
    """Check that an argument is a whole number above 0.

    Raises:
        HandPoseError: It is something else.
    """
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
        raise HandPoseError(f"{name} must be 1 or more, got {brief(value)}")


def check_kind(name: str, value: object, kinds: type | tuple[type, ...], expected: str) -> None:
    """Check that an argument has one of several types, which `expected` describes.

    Raises:
        HandPoseError: It has another type.
    """
    if not isinstance(value, kinds):
        raise HandPoseError(f"{name} must be {expected}, got {brief(value)}")


def numbers(values: object) -> np.ndarray:
    """Return numbers, or nested sequences of numbers, as an array of float64.

    Raises:
        HandPoseError: They are not numbers, or the sequences have different lengths.
    """
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise HandPoseError(f"expected numbers, got {brief(values)}") from None
