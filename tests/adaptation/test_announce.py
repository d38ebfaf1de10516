"""What is said before a training: whether there are enough frames, and how long it takes."""

from __future__ import annotations

import logging
import warnings

import pytest

from handpose.adaptation.announce import FewFramesWarning, Pace, announce
from handpose.adaptation.outcome import Measure


def test_few_frames_are_announced_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "handpose")
    with pytest.warns(FewFramesWarning, match=r"only 3 usable frames, 1 of which measure"):
        announce(2, 1, 400, 32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        announce(40, 10, 1600, 32)
    assert caplog.messages[-1] == (
        "training on 40 frames, validation on 10 held-out frames: at most 1,600 steps of 32 crops"
    )


def test_the_duration_is_extrapolated_from_the_first_steps(caplog: pytest.LogCaptureFixture) -> None:
    """The first step of a run takes 30 s, and each of the others takes 2 s."""
    caplog.set_level(logging.INFO, "handpose")
    now = 0.0
    pace = Pace(100, clock=lambda: now)
    assert pace.minutes_left(0) is None
    for step in range(41, 100):
        now += 30.0 if step == 41 else 2.0
        pace.on_step(step)
        if step > 41:
            assert pace.minutes_left(step) == pytest.approx((100 - step) * 2.0 / 60.0)
    assert [message for message in caplog.messages if "takes" in message] == [
        "the training takes up to 2 minutes; it ends early if the error on the held-out frames no longer decreases"
    ]


def test_the_remaining_time_is_at_most_the_limit() -> None:
    now = 0.0
    pace = Pace(1000, 5.0, clock=lambda: now)
    for step in (1, 2, 3):
        now += 60.0
        pace.on_step(step)
    assert pace.minutes_left(3) == pytest.approx(2.0)
    now += 1000.0
    assert pace.minutes_left(3) == 0.0


def test_a_measure_that_was_zero_has_no_change_in_percent() -> None:
    """Frames of a still scene without noise have no jitter."""
    assert str(Measure("jitter in mm", 0.0, 0.5)) == "jitter in mm: 0.00 before, 0.50 after"
    assert str(Measure("jitter in mm", 2.0, 0.5)) == "jitter in mm: 2.00 before, 0.50 after (-75%)"
