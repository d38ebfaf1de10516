"""Pacing of streams: all frames, only the newest frame, or frames in real time."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Generator
from typing import NamedTuple

from handpose.io.arguments import check_kind
from handpose.io.warn import Note, collect_warnings
from handpose.recordings.frame import DepthFrame, Source

_CLOSE_TIMEOUT_S = 5.0

Clock = Callable[[], float]
"""A function that returns the current time in s."""


class Arrival(NamedTuple):
    """A frame and its arrival.

    Attributes:
        frame: The frame.
        at: Arrival time in s, on the clock that the stream was paced with (`time.perf_counter` by default).
        dropped: Number of frames dropped so far.
    """

    frame: DepthFrame
    at: float
    dropped: int


def all_frames(source: Source, *, clock: Clock = time.perf_counter) -> Generator[Arrival, None, None]:
    """Yield all frames of a source that waits until it is asked."""
    with contextlib.closing(source):
        for frame in source:
            yield Arrival(frame, clock(), 0)


def newest_frame(source: Source, *, clock: Clock = time.perf_counter) -> Generator[Arrival, None, None]:
    """Yield the newest frame each time, from a source that cannot be paused, such as a camera.

    A thread reads the source. While the caller processes a frame, only the newest of the waiting frames is kept, so
    latency does not grow. An exception of the source is raised after its last frame.

    Each item has the attributes `frame`, `at` (time of arrival in s) and `dropped` (number of dropped frames so far).

    Raises:
        HandPoseError: The source is not a generator.
    """
    check_kind("source", source, Generator, "a generator of frames, such as handpose.open_source returns")
    changed = threading.Condition()
    waiting: Arrival | None = None
    dropped, ended, failure = 0, False, None
    warnings: list[Note] = []

    def read() -> None:
        nonlocal waiting, dropped, ended, failure
        try:
            with collect_warnings(warnings):
                for frame in source:
                    with changed:
                        if ended:
                            break
                        dropped += waiting is not None
                        waiting = Arrival(frame, clock(), dropped)
                        changed.notify()
        except Exception as error:
            failure = error
        finally:
            source.close()
            with changed:
                ended = True
                changed.notify()

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        while True:
            with changed:
                while waiting is None and not ended:
                    changed.wait()
                arrival, waiting = waiting, None
            while warnings:
                warnings.pop(0).issue()
            if arrival is None:
                break
            yield arrival
        if failure is not None:
            raise failure
    finally:
        with changed:
            ended = True
        thread.join(_CLOSE_TIMEOUT_S)


def in_real_time(
    source: Source, *, clock: Clock = time.monotonic, sleep: Callable[[float], None] = time.sleep
) -> Source:
    """Yield the frames of a source that waits at the rate at which they were captured."""
    with contextlib.closing(source):
        offset: float | None = None
        for frame in source:
            now = clock()
            offset = now - frame.time if offset is None else offset
            sleep(max(0.0, offset + frame.time - now))
            yield frame
