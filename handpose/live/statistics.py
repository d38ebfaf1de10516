"""How a stream is doing."""

from __future__ import annotations

import time

import numpy as np

from handpose.live.pacing import Arrival


class Statistics:
    """How a stream has gone since this was made."""

    def __init__(self) -> None:
        self._begin, self._latencies, self._dropped = time.perf_counter(), list[float](), 0

    @property
    def seconds(self) -> float:
        """How long ago that was."""
        return time.perf_counter() - self._begin

    @property
    def frames(self) -> int:
        """How many have been counted."""
        return len(self._latencies)

    def add(self, arrival: Arrival) -> None:
        """Counts a frame that is done now."""
        self._latencies.append(time.perf_counter() - arrival.at)
        self._dropped = arrival.dropped

    def row(self) -> dict[str, float]:
        """Frames, frames per second, latency from arrival to now (median, 95th percentile), and all dropped frames."""
        median, most = 1000.0 * np.percentile(self._latencies or [np.nan], (50, 95))
        return {
            "frames": self.frames,
            "fps": round(self.frames / self.seconds, 1),
            "latency_p50_ms": round(float(median), 1),
            "latency_p95_ms": round(float(most), 1),
            "dropped": self._dropped,
        }
