"""Ctrl-C, SIGTERM, and readers that go away."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator

import typer


@contextlib.contextmanager
def reader_may_leave() -> Iterator[None]:
    """If the reader of stdout goes away, nobody needs to hear of it: exit code 141."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # where Python flushes to in the end
        raise typer.Exit(141) from None


@contextlib.contextmanager
def stop_requests() -> Iterator[list[int]]:
    """Collects Ctrl-C and SIGTERM, so that a write is finished before the end; the second one ends at once.

    With `reader_may_leave`.
    """
    stops: list[int] = []

    def note(number: int, _: object) -> None:
        stops.append(number)
        signal.signal(number, signal.SIG_DFL)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with reader_may_leave():
            yield stops
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
