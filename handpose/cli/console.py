"""What commands share: choices, numbers in options, and talk on stderr."""

from __future__ import annotations

import contextlib
import enum
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from handpose.io.depth.units import DepthUnit


class Layout(str, enum.Enum):
    """The joint layouts."""

    icvl = "icvl"
    nyu = "nyu"
    msra = "msra"


class Hand(str, enum.Enum):
    """Which hand an image shows."""

    right = "right"
    left = "left"


class HandOrAuto(str, enum.Enum):
    """Which hand an image shows, or that nobody knows."""

    right = "right"
    left = "left"
    auto = "auto"


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


def parse_unit(text: str) -> DepthUnit:
    """What `--unit` means."""
    if text in ("mm", "m", "nyu"):
        return text  # type: ignore[return-value]
    (unit,) = parse_numbers(text, 1, "--unit mm|m|nyu|NUMBER")
    if not 0 < unit < float("inf"):
        raise typer.BadParameter(f"expected --unit mm|m|nyu|NUMBER with a number above 0, got {text!r}")
    return unit


def parse_numbers(text: str, count: int, what: str) -> tuple[float, ...]:
    """So many numbers with commas between them; `what` is said if they are not."""
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != count:
        raise typer.BadParameter(f"expected {what}, got {text!r}")
    return numbers


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
