"""Tells in advance what to expect of a training: too few frames, the number of steps, and the time that they take."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

from handpose.io.warn import InputWarning, warn

ENOUGH_FRAMES = 50
"""Number of frames below which a training rarely improves a model."""

_log = logging.getLogger(__name__)
_TIMED_STEPS = 10  # after the first step, which is slower


class FewFramesWarning(InputWarning):
    """There are too few frames to train on, or to measure the result on."""


def announce(training: int, held_out: int, steps: int, batch: int) -> None:
    """Log the number of frames and of training steps, and warn if there are too few frames.

    Args:
        training: Number of frames to train on.
        held_out: Number of held-out frames.
        steps: Maximum number of training steps.
        batch: Crops per step.
    """
    if training + held_out < ENOUGH_FRAMES:
        warn(
            f"there are only {training + held_out} usable frames, {held_out} of which measure the result: the model "
            f"may not improve on other frames, and the measured errors are inaccurate; use {ENOUGH_FRAMES} or more",
            FewFramesWarning,
        )
    _log.info(
        f"training on {training} frames, validation on {held_out} held-out frames: at most {steps:,} steps of {batch} "
        "crops"
    )


class Pace:
    """Estimates the remaining time of a training from the time of its steps.

    Args:
        steps: Total number of steps.
        max_minutes: Maximum duration of the training in minutes.
        clock: Function that returns the current time in seconds.
    """

    def __init__(self, steps: int, max_minutes: float = math.inf, clock: Callable[[], float] = time.monotonic) -> None:
        self._steps, self._limit, self._clock = steps, max_minutes, clock
        self._begin = clock()
        self._first: tuple[int, float] | None = None
        self._rate: float | None = None  # seconds per step

    def on_step(self, step: int) -> None:
        """Note that a step is completed, and log the expected duration once the first steps were timed."""
        now = self._clock()
        if self._first is None:
            self._first = step, now
            return
        done = step - self._first[0]
        self._rate = (now - self._first[1]) / done
        if done == _TIMED_STEPS:
            minutes = max(1, round(self.minutes_left(step) or 0.0))
            _log.info(
                f"the training takes up to {minutes} {'minute' if minutes == 1 else 'minutes'}; it ends early if the "
                "error on the held-out frames no longer decreases"
            )

    def minutes_left(self, step: int) -> float | None:
        """Return the expected time in minutes from this step to the end, or None if no step was timed."""
        if self._rate is None:
            return None
        left = (self._steps - step) * self._rate / 60.0
        return max(0.0, min(left, self._limit - (self._clock() - self._begin) / 60.0))
