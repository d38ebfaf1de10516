"""What follows from the log-odds that a crop shows a hand."""

from __future__ import annotations

import math

DOUBTFUL_HAND = 4.0
"""Log-odds below which a crop may well show something else.

Of the correct poses in synthetic validation images, 1% are below. Faces in real images are often above even odds.
"""

CERTAIN_HAND = 6.0
"""Log-odds above which a crop certainly shows a hand, even at an unlikely location."""

NOT_A_HAND = "nothing at this location looks like a hand"
"""Reason of a pose whose log-odds are below."""


def is_doubtful_hand(log_odds: float) -> bool:
    """Return whether a crop may well show something else. Unknown log-odds, NaN, cause no doubt."""
    return log_odds < DOUBTFUL_HAND


def hand_probability(log_odds: float) -> float:
    """Return the probability of a hand, or 1 if its log-odds are unknown, NaN."""
    if math.isnan(log_odds):
        return 1.0
    return 1.0 / (1.0 + math.exp(min(-log_odds, 700.0)))
