"""`handpose predict` in this process: log messages and the exit code."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from handpose.cli.console import say
from handpose.cli.signals import exit_on_broken_pipe, stop_on_signal

if TYPE_CHECKING:
    from handpose.io.choices import Format
    from handpose.jobs.job import PredictJob
    from handpose.jobs.local import LocalProgress


def run_local(job: PredictJob, format: Format, draw: Path | None, html: Path | None) -> None:
    """Run a job in this process.

    Raises:
        HandPoseError: The job cannot be run.
        typer.Exit: With 1 if inputs failed, 128 + N after signal N, 141 on a broken pipe.
    """
    from handpose.jobs.local import predict_local

    with exit_on_broken_pipe():
        steps = predict_local(job, format=format, draw=draw, html=html)
        progress = next(steps)
        with stop_on_signal() as stops, contextlib.closing(steps):
            remaining = progress.total - progress.done
            for progress in _with_bar(steps, remaining):
                if progress.error:
                    say(f"error: {progress.error}")
                if stops:
                    break
    if progress.failed:
        say(f"{progress.failed} of {progress.done} inputs failed")
    if stops:
        say(f"stopped after {progress.done} of {progress.total} inputs")
        raise typer.Exit(128 + stops[0])
    if progress.failed:
        raise typer.Exit(1)


def _with_bar(steps: Iterator[LocalProgress], length: int) -> Iterator[LocalProgress]:
    """Show a progress bar if stderr is a terminal."""
    if length == 1 or not sys.stderr.isatty():
        yield from steps
        return
    with typer.progressbar(steps, length=length, file=sys.stderr) as bar:
        yield from bar
