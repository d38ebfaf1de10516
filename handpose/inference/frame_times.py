"""Checks the times of the frames of a stream."""

from __future__ import annotations

import math

import numpy as np

from handpose.errors import HandPoseError, brief
from handpose.io.warn import InputWarning, warn

_MAX_GAP_S = 5.0  # cameras with up to 200 frames per s exceed it if their times are in ms
_MAX_TIME_S = 1e15  # larger whole numbers may be too large for a float
_GAPS = 3  # in a row; single gaps are pauses of the camera


class FrameTimesWarning(InputWarning):
    """The frames are far apart, or their times are not in seconds."""


class FrameTimes:
    """The times of the frames of a stream, in s.

    Attributes:
        last: Time of the latest frame.
    """

    def __init__(self) -> None:
        self.last = -math.inf
        self._gaps = 0

    def check(self, time: float) -> None:
        """Check that a frame may follow the latest one.

        Raises:
            HandPoseError: The time is not a number, or does not increase.
        """
        if not isinstance(time, (int, float, np.number)):
            raise HandPoseError(
                f"time must be a number of seconds, and the order is depth, camera, time; got {brief(time)}"
            )
        if not self.last < time < _MAX_TIME_S:
            raise HandPoseError(f"frame times must increase, got {time} s after {self.last} s")

    def advance(self, time: float) -> None:
        """Continue with the next frame.

        Warns:
            FrameTimesWarning: Several gaps in a row are long; this is reported once.
        """
        is_long = _MAX_GAP_S < time - self.last < math.inf
        self.last = time
        if self._gaps < _GAPS:
            self._gaps = self._gaps + 1 if is_long else 0
            if self._gaps == _GAPS:
                warn(
                    f"the frames are more than {_MAX_GAP_S:g} s apart, too long to track hands; times must be in "
                    "seconds",
                    FrameTimesWarning,
                )
