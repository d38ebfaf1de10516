"""What follows from the log-odds that a crop shows a hand, and that it shows the given one."""

from __future__ import annotations

import math

DOUBTFUL_HAND = 4.0
"""Log-odds below which a crop may well show something else.

Of the correct poses in synthetic validation images, 1% are below. Faces in real images are often above even odds.
"""

CERTAIN_HAND = 6.0
"""Log-odds above which a crop certainly shows a hand, even at an unlikely location."""

_OTHER_HAND = 1.5  # log-odds of the given side in one pass; 5% of the correct poses are below

NOT_A_HAND = "nothing at this location looks like a hand"
"""Reason of a pose whose log-odds are below."""


def is_doubtful_hand(log_odds: float) -> bool:
    """Return whether a crop may well show something else. Unknown log-odds, NaN, cause no doubt."""
    return log_odds < DOUBTFUL_HAND


def may_be_other_hand(given_side_log_odds: float) -> bool:
    """Return whether a pose may be of the other side than the given one. Unknown log-odds, NaN, cause no doubt."""
    return given_side_log_odds < _OTHER_HAND


def probability(log_odds: float) -> float:
    """Return the probability that follows from log-odds, or 1 if these are unknown, NaN."""
    if math.isnan(log_odds):
        return 1.0
    return 1.0 / (1.0 + math.exp(min(-log_odds, 700.0)))
