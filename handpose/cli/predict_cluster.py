"""`handpose predict --engine ray`: the same records, from a cluster into a folder of Parquet files."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import typer

from handpose.cli.console import say
from handpose.cli.options import parse_numbers
from handpose.errors import HandPoseError
from handpose.jobs.signals import stop_requests

if TYPE_CHECKING:
    from handpose.jobs.job import PredictJob

_TOLD = 20  # warnings that are printed; thousands of frames may have the same flaw
_TELL_EVERY = 5.0  # seconds


def predict_on_cluster(job: PredictJob, address: str | None, workers: int | None) -> None:
    """Predicts all frames of a job on a Ray cluster.

    Args:
        job: what to do; inputs may be URLs, archives and tables, and the output is a folder or URL.
        address: of the cluster; without it, one is started.
        workers: the most networks at work.

    Raises:
        HandPoseError: nothing could be done.
        typer.Exit: with 1 if inputs failed, or as `stop_requests` says.
    """
    if job.output is None:
        raise typer.BadParameter("--engine ray needs -o with a folder or URL")
    center = None if job.center is None else parse_numbers(job.center, 3, "--center X,Y,Z with --engine ray")
    try:
        from handpose.inference.estimator import HandPoseEstimator
        from handpose.inference.query import Query
        from handpose.jobs.cluster.engine import connect, predict_shards
        from handpose.jobs.cluster.output import ShardedOutput
        from handpose.jobs.cluster.shards import find_shards
    except ImportError as error:
        raise HandPoseError(f"--engine ray needs the extra ray ({error}); pip install 'handpose[ray]'") from None

    shards = find_shards(job.inputs)
    # The driver's own network is never run: it checks the model, and makes its graph for this machine's workers.
    estimator = HandPoseEstimator.from_pretrained(job.model, device="cpu", backend=job.backend)
    options = {
        "model": job.model,
        "query": Query(job.camera, center, job.box, job.hand, job.unit),
        "device": job.device,
        "backend": job.backend,
        "batch_size": job.batch_size,
    }
    told: set[str] = set()
    told_at = time.monotonic()
    with (
        stop_requests() as stops,
        contextlib.closing(
            ShardedOutput(
                job.output, job.settings(estimator, format="parquet"), shards, resume=job.resume, force=job.force
            )
        ) as results,
    ):
        left = [shard for shard in shards if not results.holds(shard)]
        done = len(shards) - len(left)
        if left:
            connect(address)
            finished = predict_shards(left, results, options, workers=workers)
            with contextlib.closing(finished):
                for shard in finished:
                    results.finish(shard.shard, shard.rows, shard.failed)
                    done += 1
                    for warning in shard.warnings:
                        if warning not in told and len(told) < _TOLD:
                            told.add(warning)
                            say(f"warning: {warning}")
                    if time.monotonic() > told_at + _TELL_EVERY:
                        told_at = time.monotonic()
                        say(f"{done} of {len(shards)} shards, {results.rows} frames, {results.failed} failed")
                    if stops:
                        break
    failed = f"{results.failed} failed: see the column reason" if results.failed else "0 failed"
    say(f"{done} of {len(shards)} shards, {results.rows} frames, {failed}")
    if stops:
        raise typer.Exit(128 + stops[0])
    if results.failed:
        raise typer.Exit(1)
