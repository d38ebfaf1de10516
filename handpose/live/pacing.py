"""Between a source and its consumer: the newest frame wins, and what that costs is counted."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Generator
from typing import NamedTuple

from handpose.io.warn import Note, warn, warnings_noted
from handpose.live.frame import DepthFrame, Source

_PATIENCE = 5.0  # s for a camera to be given back


class Arrival(NamedTuple):
    """A frame as it came in.

    Attributes:
        frame: what the source gave.
        at: when, s of `time.perf_counter`.
        dropped: how many frames have been dropped so far.
    """

    frame: DepthFrame
    at: float
    dropped: int


def every_frame(source: Source) -> Generator[Arrival, None, None]:
    """All frames of a source that waits until it is asked."""
    with contextlib.closing(source):
        for frame in source:
            yield Arrival(frame, time.perf_counter(), 0)


def newest_frame(source: Source) -> Generator[Arrival, None, None]:
    """The frames of a source that gives them in its own time.

    A thread reads them. While one is worked on, only the newest of the others is kept, so that latency never grows.
    What the source raises is raised here, after the last frame.
    """
    there = threading.Condition()
    waiting: Arrival | None = None
    dropped, over, failure = 0, False, None
    notes: list[Note] = []

    def read() -> None:
        nonlocal waiting, dropped, over, failure
        try:
            with warnings_noted(notes):
                for frame in source:
                    with there:
                        if over:
                            break
                        dropped += waiting is not None
                        waiting = Arrival(frame, time.perf_counter(), dropped)
                        there.notify()
        except Exception as error:
            failure = error
        finally:
            source.close()
            with there:
                over = True
                there.notify()

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        while True:
            with there:
                while waiting is None and not over:
                    there.wait()
                arrival, waiting = waiting, None
            while notes:
                warn(*notes.pop(0))
            if arrival is None:
                break
            yield arrival
        if failure is not None:
            raise failure
    finally:
        with there:
            over = True
        thread.join(_PATIENCE)


def at_own_speed(source: Source) -> Source:
    """The frames of a source that waits, at the speed of their times."""
    with contextlib.closing(source):
        begin: float | None = None
        for frame in source:
            now = time.monotonic()
            begin = now - frame.time if begin is None else begin
            time.sleep(max(0.0, begin + frame.time - now))
            yield frame
