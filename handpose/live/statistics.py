"""Frame rate, latency and dropped frames of a stream."""

from __future__ import annotations

import time
from collections import deque

import numpy as np

from handpose.live.pacing import Arrival, Clock

_MAX_LATENCIES = 100_000  # bounds memory, because a session may last for months


class Statistics:
    """Statistics of the frames processed since this object was created; latencies are those of the newest 100,000.

    Args:
        clock: Clock of the arrivals.
    """

    def __init__(self, clock: Clock = time.perf_counter) -> None:
        self._clock, self._start = clock, clock()
        self._latencies = deque[float](maxlen=_MAX_LATENCIES)
        self._frames = self._hands = self._dropped = 0

    @property
    def seconds(self) -> float:
        """Time since this object was created, in s."""
        return self._clock() - self._start

    @property
    def frames(self) -> int:
        """Number of processed frames."""
        return self._frames

    def add(self, arrival: Arrival, hands: int) -> None:
        """Count a frame whose processing has just been completed, and its hands."""
        self._frames += 1
        self._hands += hands
        self._latencies.append(self._clock() - arrival.at)
        self._dropped = arrival.dropped

    def row(self) -> dict[str, float]:
        """Return the number of frames and of their hands, the frame rate, latency and dropped frames.

        Latency (median and 95th percentile) is the time from the arrival of a frame to the end of its processing. All
        dropped frames of the stream are counted.
        """
        median, p95 = 1000.0 * np.percentile(self._latencies or [np.nan], (50, 95))
        return {
            "frames": self.frames,
            "hands": self._hands,
            "fps": round(self.frames / self.seconds, 1),
            "latency_p50_ms": round(float(median), 1),
            "latency_p95_ms": round(float(p95), 1),
            "dropped": self._dropped,
        }
