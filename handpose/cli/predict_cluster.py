"""`handpose predict --engine ray`: log messages and the exit code."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import typer

from handpose.cli.console import say
from handpose.cli.signals import exit_on_broken_pipe, stop_on_signal
from handpose.errors import HandPoseError

if TYPE_CHECKING:
    from handpose.jobs.cluster.run import ClusterProgress
    from handpose.jobs.job import PredictJob

_MAX_WARNINGS = 20  # thousands of frames may have the same flaw
_STATUS_INTERVAL_S = 5.0


def run_on_cluster(job: PredictJob, address: str | None, workers: int | None) -> None:
    """Run a job on a Ray cluster.

    Raises:
        HandPoseError: The job cannot be run.
        typer.Exit: With 1 if frames failed, 128 + N after signal N.
    """
    try:
        from handpose.jobs.cluster.run import predict_on_cluster
    except ImportError as error:
        raise HandPoseError(f"--engine ray requires the extra `ray` ({error}); pip install 'handpose[ray]'") from None

    shown: set[str] = set()
    status_at = time.monotonic()
    with exit_on_broken_pipe():
        steps = predict_on_cluster(job, address, workers)
        progress = next(steps)
        with stop_on_signal() as stops, contextlib.closing(steps):
            for progress in steps:
                for warning in progress.warnings:
                    if warning not in shown and len(shown) < _MAX_WARNINGS:
                        shown.add(warning)
                        say(f"warning: {warning}")
                if time.monotonic() > status_at + _STATUS_INTERVAL_S:
                    status_at = time.monotonic()
                    say(_status(progress))
                if stops:
                    break
    say(_status(progress) + (": see the column reason" if progress.failed else ""))
    if stops:
        raise typer.Exit(128 + stops[0])
    if progress.failed:
        raise typer.Exit(1)


def _status(progress: ClusterProgress) -> str:
    return f"{progress.done} of {progress.total} shards, {progress.frames} frames, {progress.failed} failed"
