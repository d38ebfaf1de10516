"""Log messages, warnings and progress on stderr; stdout is for results."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator

import typer


def say(line: str) -> None:
    """Print a log message."""
    typer.echo(line, err=True)


def print_row(row: dict[str, float]) -> None:
    """Print named values as one line."""
    say("  ".join(f"{name} {value:.6g}" for name, value in row.items()))


@contextlib.contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Print each distinct warning once, as one line."""
    with warnings.catch_warnings():
        warnings.simplefilter("once", UserWarning)
        warnings.showwarning = lambda message, *_: say(f"warning: {message}")
        yield


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
