from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handpose.inference.sides import classify_sides, joint_log_odds

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


def posterior(log_odds: Sequence[float], different: float) -> float:
    """Return the log-odds that the first of two hands is a right one, from the probabilities of all four cases."""
    total = {True: 0.0, False: 0.0}
    for right in itertools.product((True, False), repeat=2):
        log = sum(value if side else 0.0 for value, side in zip(log_odds, right, strict=True))
        total[right[0]] += np.exp(log + (different if right[0] != right[1] else 0.0))
    return float(np.log(total[True] / total[False]))


@given(log_odds, log_odds)
def test_joint_log_odds_are_the_posterior_of_two_hands(first: float, second: float) -> None:
    def joint(gap: float) -> list[float]:
        return joint_log_odds([first, second], [at(0.0), at(gap)])

    assert joint(601.0) == [first, second]
    assert joint(400.0) == pytest.approx([posterior([first, second], 2.0), posterior([second, first], 2.0)], abs=1e-9)
    assert joint(100.0) == pytest.approx([first - second, second - first], abs=1e-9)  # exactly one is a right hand
