"""Progress as a bar on the last line of a terminal, or as lines of a log file."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from typing import TextIO

_WIDTH = 24
_INTERVAL_S = 0.1  # between two drawings of the bar
_LINE_INTERVAL_S = 60.0


class Progress:
    """The description, progress, rate and remaining time of one kind of work.

    Args:
        what: Description of the work.
        total: Number of items, 0 if it is unknown.
        done: Number of items that were completed before.
        clock: Function that returns the current time in seconds.
    """

    def __init__(self, what: str, total: int, *, done: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self._what, self._total, self._done, self._clock = what, total, done, clock
        self._first, self._start = done, clock()
        self._note = ""

    def text(self) -> str:
        """Return the line that is shown."""
        if not self._total:
            return f"{self._what} ..."
        filled = _WIDTH * min(self._done, self._total) // self._total
        parts = [f"{self._what} [{'#' * filled}{'-' * (_WIDTH - filled)}] {self._done:,}/{self._total:,}"]
        if self._note:
            parts.append(self._note)
        seconds, items = self._clock() - self._start, self._done - self._first
        if items > 0 and seconds > 0:
            rate = items / seconds
            parts.append(f"{rate:.3g}/s" if rate >= 1 else f"{1 / rate:.3g} s each")
            parts.append(f"{_duration((self._total - self._done) / rate)} left")
        return "  ".join(parts)


class Bar(Progress):
    """Progress on the last line of a terminal.

    Args:
        what: Description of the work.
        total: Number of items, 0 if it is unknown.
        done: Number of items that were completed before.
        stream: The terminal.
        clock: Function that returns the current time in seconds.
    """

    def __init__(
        self,
        what: str,
        total: int,
        *,
        done: int = 0,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(what, total, done=done, clock=clock)
        self._stream, self._next_draw = stream or sys.stderr, 0.0
        self._visible = False

    def update(self, done: int, note: str = "") -> None:
        """Show that `done` items are completed; `note` is shown next to the count."""
        self._done, self._note = done, note
        now = self._clock()
        if now >= self._next_draw or done == self._total:
            self._next_draw = now + _INTERVAL_S
            self.draw()

    def draw(self) -> None:
        """Draw the bar."""
        columns = shutil.get_terminal_size().columns - 1
        self._stream.write(f"\r\x1b[2K{self.text()[:columns]}")
        self._stream.flush()
        self._visible = True

    def clear(self) -> None:
        """Remove the bar from the terminal until it is drawn again."""
        if self._visible:
            self._stream.write("\r\x1b[2K")
            self._stream.flush()
            self._visible = False


class ProgressLines(Progress):
    """Progress as a line per minute, for the log file of a long job.

    Args:
        what: Description of the work.
        total: Number of items.
        done: Number of items that were completed before.
        write: Writes a line.
        clock: Function that returns the current time in seconds.
    """

    def __init__(
        self,
        what: str,
        total: int,
        write: Callable[[str], None],
        *,
        done: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(what, total, done=done, clock=clock)
        self._write, self._next_line = write, self._start + _LINE_INTERVAL_S

    def update(self, done: int) -> None:
        """Write a line if the last one is a minute old."""
        self._done = done
        now = self._clock()
        if now >= self._next_line:
            self._next_line = now + _LINE_INTERVAL_S
            self._write(self.text())


def _duration(seconds: float) -> str:
    """Return a duration as minutes and seconds, with hours if there are any."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
