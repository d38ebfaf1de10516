from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handpose.inference.sides import classify_sides

log_odds = st.floats(-10.0, 10.0)


def at(x: float) -> np.ndarray:
    return np.array([x, 0.0, 500.0])


@given(log_odds, log_odds, st.floats(0.0, 189.0))
def test_hands_that_touch_have_different_sides(first: float, second: float, gap: float) -> None:
    sides = classify_sides([first, second], [at(0.0), at(gap)])
    assert sorted(sides) == ["left", "right"]
    if first != second:
        assert (sides[0] == "right") == (first > second)


@given(log_odds, log_odds)
def test_hands_of_two_people_are_classified_independently(first: float, second: float) -> None:
    sides = classify_sides([first, second], [at(0.0), at(601.0)])
    assert sides == ["right" if value >= 0 else "left" for value in (first, second)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((8.0, 0.5), ["right", "left"]),  # the second hand is uncertain, so it is the other hand of this person
        ((8.0, 6.0), ["right", "right"]),  # both are certain, so they belong to two people
        ((-0.5, -8.0), ["right", "left"]),
        ((-3.0, 4.0), ["left", "right"]),
    ],
)
def test_nearby_hands_probably_belong_to_one_person(values: tuple[float, float], expected: list[str]) -> None:
    assert classify_sides(values, [at(0.0), at(400.0)]) == expected


def test_each_hand_has_at_most_one_partner() -> None:
    """Two people sit side by side: the hands next to each other belong together."""
    values = [5.0, 0.4, 0.3, 6.0]
    assert classify_sides(values, [at(0.0), at(150.0), at(500.0), at(650.0)]) == ["right", "left", "left", "right"]
    assert classify_sides([5.0, 0.5, 0.4], [at(0.0), at(150.0), at(330.0)]) == ["right", "left", "right"]


def test_one_hand_or_none() -> None:
    assert classify_sides([], []) == []
    assert classify_sides([-0.1], [at(0.0)]) == ["left"]
