"""Progress reports of slow work. They are discarded unless a reporter is set."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import TypeVar

_Item = TypeVar("_Item")


Reporter = Callable[[str, int, int, str], None]
"""Called with a description of the work, the number of completed items, their total (0 if unknown), and a remark."""

_reporter: ContextVar[Reporter | None] = ContextVar("reporter", default=None)


@contextlib.contextmanager
def reporting(reporter: Reporter) -> Iterator[None]:
    """Report the progress of the work in this block to `reporter`."""
    token = _reporter.set(reporter)
    try:
        yield
    finally:
        _reporter.reset(token)


def report(what: str, done: int = 0, total: int = 0, remark: str = "") -> None:
    """Report that `done` of `total` items are completed, or that work without countable items starts."""
    reporter = _reporter.get()
    if reporter is not None:
        reporter(what, done, total, remark)


def track(items: Iterable[_Item], what: str, total: int) -> Iterator[_Item]:
    """Yield the items, and report each one after its consumer has processed it."""
    report(what, 0, total)
    for number, item in enumerate(items, 1):
        yield item
        report(what, number, total)
