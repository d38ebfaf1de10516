"""What commands say on stderr."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator

import typer


def say(line: str) -> None:
    """A line for the person who watches; stdout is for results."""
    typer.echo(line, err=True)


def say_row(row: dict[str, float]) -> None:
    """Numbers by name, as one line."""
    say("  ".join(f"{name} {value:.6g}" for name, value in row.items()))


@contextlib.contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Warnings as one line each on stderr, the same one once."""
    with warnings.catch_warnings():
        warnings.simplefilter("once", UserWarning)
        warnings.showwarning = lambda message, *_: say(f"warning: {message}")
        yield


def tell_of_the_first_time(made: str) -> None:
    """Says that the hand to render is made first, if it is not in the cache."""
    from handpose.io.cache import cache_folder

    if not (cache_folder() / made).is_file():
        say("making the hand to render and its poses, this once: about two minutes")


@contextlib.contextmanager
def progress(steps: int) -> Iterator[Callable[[int], None]]:
    """What shows how many of the steps are done, where a person watches."""
    if not sys.stderr.isatty() or os.environ.get("RANK", "0") != "0":
        yield lambda step: None
        return
    with typer.progressbar(length=steps, file=sys.stderr) as bar:
        yield lambda step: bar.update(step - bar.pos)
