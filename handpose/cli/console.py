"""Log messages, warnings and progress on stderr; stdout is for results."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Literal

import typer

from handpose.cli.bar import Bar, ProgressLines
from handpose.io.progress import reporting
from handpose.io.warn import SkippedFrameWarning, kind

Verbosity = Literal["quiet", "normal", "verbose"]

_ARGUMENT = re.compile(r"`(\w+)=([^`]+)`")  # as messages of the library name it, such as `force=True`

_MAX_SIMILAR = 5
_VARIABLE = re.compile(r"\S*[\d./\\]\S*")  # names of files, and numbers

_verbosity: Verbosity = "normal"
_bar: Bar | None = None


def set_verbosity(verbosity: Verbosity) -> None:
    """Choose which messages and which log messages of the library are printed."""
    global _verbosity  # noqa: PLW0603 - there is one console
    _verbosity = verbosity
    log = logging.getLogger("handpose")
    log.setLevel({"quiet": logging.WARNING, "normal": logging.INFO, "verbose": logging.DEBUG}[verbosity])
    if not any(isinstance(handler, _Lines) for handler in log.handlers):
        log.addHandler(_Lines())


class _Lines(logging.Handler):
    """Prints log messages as lines."""

    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage())


def say(line: str) -> None:
    """Print an error, a warning, or a message that must not be suppressed."""
    _echo(with_options(line), err=True)


class SimilarLines:
    """Prints the first errors or warnings of each kind: of those that only differ in names and numbers.

    Attributes:
        hidden: Number of lines that were not printed.
    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self.hidden = 0

    def say(self, line: str) -> None:
        """Print a line such as `error: frame.png: the PNG is truncated`, unless there were similar ones."""
        own = _VARIABLE.sub("", line)
        self._counts[own] += 1
        if self._counts[own] > _MAX_SIMILAR:
            self.hidden += 1
        elif self._counts[own] == _MAX_SIMILAR:
            say(f"{line} (further {line.partition(':')[0]}s like this are not printed)")
        else:
            say(line)


def with_options(message: str) -> str:
    """Return a message of the library with its arguments, such as `force=True`, replaced by options of commands."""
    return _ARGUMENT.sub(_option, message)


def _option(argument: re.Match[str]) -> str:
    name, value = argument.groups()
    option = f"--{name.replace('_', '-')}"
    return option if value in ("True", "...") else f"{option} {value}"


def note(line: str) -> None:
    """Print a message, unless the user passed --quiet; of several processes, only the first one prints it."""
    if not is_quiet() and is_first_process():
        say(line)


def show(line: str) -> None:
    """Print a result on stdout."""
    _echo(line, err=False)


def print_row(row: dict[str, float]) -> None:
    """Print named values as one line, unless the user passed --quiet."""
    note("  ".join(f"{name} {value:.6g}" for name, value in row.items()))


def is_quiet() -> bool:
    """Return whether only errors, warnings and results are printed."""
    return _verbosity == "quiet"


def is_verbose() -> bool:
    """Return whether additional messages are printed."""
    return _verbosity == "verbose"


@contextlib.contextmanager
def warnings_as_lines() -> Iterator[Counter[type[Warning]]]:
    """Print each kind of warning once, as one line, and yield the number of warnings by category.

    Warnings about skipped frames are printed several times, because they name the frames.
    """
    counts: Counter[type[Warning]] = Counter()
    printed, skipped = set(), SimilarLines()

    def print_once(message: str, category: type[Warning]) -> None:
        counts[category] += 1
        if issubclass(category, SkippedFrameWarning):
            skipped.say(f"warning: {message}")
        elif (own := kind(message, category)) not in printed:
            printed.add(own)
            say(f"warning: {message}")

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = lambda message, category, *_: print_once(str(message), category)
        yield counts


@contextlib.contextmanager
def progress(what: str, total: int, done: int = 0) -> Iterator[Bar | ProgressLines]:
    """Show progress during this block: as a bar for several items on a terminal, otherwise as a line per minute.

    Args:
        what: Description of the work.
        total: Number of items.
        done: Number of items that were completed before.
    """
    if total < 2 or not _has_bars():
        yield ProgressLines(what, total, note, done=done)
        return
    bar = Bar(what, total, done=done)
    _replace_bar(bar)
    try:
        yield bar
    finally:
        _replace_bar(None)


@contextlib.contextmanager
def activities() -> Iterator[None]:
    """Show the progress that the library reports: as bars on a terminal, otherwise as one line per kind of work."""
    shown: dict[str, None] = {}
    current = ""
    bar: Bar | None = None

    def report(what: str, done: int, total: int, note_text: str) -> None:
        nonlocal current, bar
        if not is_first_process():
            return
        if not _has_bars():
            if what not in shown:
                note(f"{what} ...")
            shown[what] = None
            return
        if what != current or bar is None:
            current, bar = what, Bar(what, total, done=done)
            _replace_bar(bar)
            bar.draw()
        if done == total > 0:
            _replace_bar(None)
            bar = None
        else:
            bar.update(done, note_text)

    try:
        with reporting(report):
            yield
    finally:
        if bar is not None and _bar is bar:
            _replace_bar(None)


def _replace_bar(bar: Bar | None) -> None:
    global _bar  # noqa: PLW0603 - there is one console
    if _bar is not None:
        _bar.clear()
    _bar = bar


def _has_bars() -> bool:
    return sys.stderr.isatty() and not is_quiet() and is_first_process()


def is_first_process() -> bool:
    """Return whether this is the first of the processes that torchrun started, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def _echo(line: str, *, err: bool) -> None:
    """Print a line above the progress bar, if there is one."""
    if _bar is not None:
        _bar.clear()
    typer.echo(line, err=err)
    if _bar is not None:
        _bar.draw()
