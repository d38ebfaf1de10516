"""How commands react to Ctrl-C, SIGTERM and a closed stdout."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator

import typer

from handpose.cli.console import note


@contextlib.contextmanager
def exit_on_broken_pipe() -> Iterator[None]:
    """Exit quietly with status 141 when the reader of stdout has gone."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes stdout once more at exit
        raise typer.Exit(141) from None


@contextlib.contextmanager
def stop_on_signal(message: str = "") -> Iterator[list[int]]:
    """Collect the numbers of SIGINT and SIGTERM, so that a command can finish a write before it stops.

    A second signal of the same kind terminates the process immediately.

    Args:
        message: Line to print on a signal, before how to stop immediately; or empty.
    """
    stops: list[int] = []

    def handle(number: int, _: object) -> None:
        stops.append(number)
        if message:
            again = "press Ctrl-C again" if number == signal.SIGINT else "send SIGTERM again"
            note(f"{message}; {again} to stop at once")
        signal.signal(number, signal.SIG_DFL)

    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stops
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def interrupt_on_sigterm() -> Iterator[list[int]]:
    """Raise `KeyboardInterrupt` on SIGTERM, too, and collect the number of the signal.

    A second signal terminates the process immediately.
    """
    stops: list[int] = []

    def handle(number: int, _: object) -> None:
        stops.append(number)
        signal.signal(number, signal.SIG_DFL)
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, handle)
    try:
        yield stops
    finally:
        signal.signal(signal.SIGTERM, previous)
