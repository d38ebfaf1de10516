"""Log messages, warnings and progress on stderr; stdout is for results."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator

import typer

from handpose.io.warn import kind


def say(line: str) -> None:
    """Print a log message."""
    typer.echo(line, err=True)


class Lines(logging.Handler):
    """Prints log messages as lines."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one message."""
        say(record.getMessage())


def print_row(row: dict[str, float]) -> None:
    """Print named values as one line."""
    say("  ".join(f"{name} {value:.6g}" for name, value in row.items()))


@contextlib.contextmanager
def warnings_as_lines() -> Iterator[Counter[type[Warning]]]:
    """Print each kind of warning once, as one line, and yield how many warnings there were of each category."""
    counts: Counter[type[Warning]] = Counter()
    printed = set()

    def show(message: str, category: type[Warning]) -> None:
        counts[category] += 1
        if (own := kind(message, category)) not in printed:
            printed.add(own)
            say(f"warning: {message}")

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = lambda message, category, *_: show(str(message), category)
        yield counts


def note_first_generation(file: str) -> None:
    """Print that the synthetic hand must be generated if its file is not in the cache."""
    from handpose.io.cache import cache_folder

    if not (cache_folder() / file).is_file():
        say("generating the synthetic hand and its poses once, which takes about two minutes")


@contextlib.contextmanager
def progress(steps: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on a terminal; yield a function that takes the number of completed steps."""
    if not sys.stderr.isatty() or os.environ.get("RANK", "0") != "0":
        yield lambda step: None
        return
    with typer.progressbar(length=steps, file=sys.stderr) as bar:
        yield lambda step: bar.update(step - bar.pos)
