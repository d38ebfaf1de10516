"""`handpose predict` in this process: lines on a terminal, log messages and the exit code."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from handpose.cli.console import SimilarLines, activities, is_quiet, is_verbose, note, progress, say, show, with_options
from handpose.cli.signals import exit_on_broken_pipe, stop_on_signal

if TYPE_CHECKING:
    from handpose.io.choices import Format
    from handpose.jobs.job import PredictJob
    from handpose.results.records import Record

_WITHOUT_REASONS = (None, "uvd", "mcap")
_STATUSES = {"ok": "ok", "low_confidence": "low confidence", "no_hand": "no hand", "error": "failed"}


def run_local(job: PredictJob, format: Format | None, draw: Path | None, html: Path | None) -> None:
    """Run a job in this process.

    Args:
        job: Job to run.
        format: Format of the records; None prints only a line per image.
        draw: Folder or file of the pictures.
        html: Folder or file of the pages.

    Raises:
        HandPoseError: The job cannot be run.
        typer.Exit: With 1 if inputs failed, 128 + N after signal N, 141 on a broken pipe.
    """
    from handpose.jobs.local import predict_local

    # If records are written to stdout, nothing else may be.
    has_lines = format is None or (job.output is not None and sys.stdout.isatty() and not is_quiet())
    counts: Counter[str] = Counter()
    errors = SimilarLines()
    with exit_on_broken_pipe():
        steps = predict_local(job, format=format, draw=draw, html=html)
        with activities():
            state = next(steps)
        start, previous = time.monotonic(), state.done
        with (
            stop_on_signal() as stops,
            contextlib.closing(steps),
            progress("predicting", state.total, state.done) as bar,
        ):
            for state in steps:
                counts[state.records[0].status] += 1
                for record in state.records:
                    if has_lines:
                        show(_line(record, state.written))
                    elif record.status == "error":
                        errors.say(f"error: {record.source}: {record.reason}")
                bar.update(state.done)
                if stops:
                    break
    seconds = time.monotonic() - start
    if job.output is not None or (has_lines and state.total > 1) or is_verbose():
        note(_summary(counts, previous, seconds, job.output))
    if stops:
        say(f"stopped after {state.done} of {state.total} inputs")
        raise typer.Exit(128 + stops[0])
    if state.failed and not has_lines and (state.done > 1 or not counts["error"]):
        say(f"{state.failed} of {state.done} inputs failed{_reasons(format, job.output)}")
    if state.failed_before:
        say(f"{job.output} also contains failed records of other inputs: {state.failed_before}")
    if state.failed or state.failed_before:
        raise typer.Exit(1)


def _reasons(format: Format | None, output: str | None) -> str:
    """Return where the reason of each failure is, as the continuation of a sentence."""
    if format in _WITHOUT_REASONS:
        return ""
    return "; their records contain the reasons" if output is None else f"; {output} contains the reasons"


def _line(record: Record, written: Sequence[Path]) -> str:
    """Return the result of an image, and the files that show it, as a line of readable text."""
    from handpose.results.pose import describe

    if record.status == "error":
        return f"{record.source}  failed: {with_options(record.reason)}"
    return f"{record.source}  {describe(record)}" + (f" -> {', '.join(map(str, written))}" if written else "")


def _summary(counts: Counter[str], previous: int, seconds: float, output: str | None) -> str:
    parts = [f"{counts[status]:,} {text}" for status, text in _STATUSES.items() if counts[status]]
    if previous:
        parts.append(f"{previous:,} from earlier runs")
    parts.append(f"{counts.total() / seconds:.3g} images/s")
    return ", ".join(parts) + ("" if output is None else f" -> {output}")
