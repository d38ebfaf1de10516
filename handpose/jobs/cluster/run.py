"""A prediction job on a Ray cluster, shard by shard."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from handpose.errors import HandPoseError
from handpose.io.outputs import writing
from handpose.io.resumable import lock_output
from handpose.jobs.cluster.engine import connect, predict_shards
from handpose.jobs.cluster.output import MANIFEST, ShardedOutput
from handpose.jobs.cluster.shards import find_shards
from handpose.jobs.job import PredictJob, model_settings


class ClusterProgress(NamedTuple):
    """Progress of a job after each shard.

    Attributes:
        done: Completed shards, including those of the job that was resumed.
        total: Shards of the job.
        frames: Frames of the completed shards.
        failed: Frames whose row is an error.
        warnings: Warnings of the workers about the last shard; each kind of warning occurs once per job.
    """

    done: int
    total: int
    frames: int
    failed: int
    warnings: Sequence[str] = ()


def predict_on_cluster(
    job: PredictJob, address: str | None = None, workers: int | None = None
) -> Generator[ClusterProgress, None, None]:
    """Predict the frames of a job, and yield its progress once after opening the output and after each shard.

    Closing the generator completes the manifest, so that the job can be resumed.

    Args:
        job: Job to run; its output is a folder or URL.
        address: Address of the Ray cluster. If None, a cluster of this machine is started.
        workers: Maximum number of model replicas (default: as many as fit).

    Raises:
        HandPoseError: An input, the output, the model or the cluster cannot be used.
    """
    if job.output is None:
        raise HandPoseError("`engine=ray` requires `output=...` with a folder or URL")
    shards = find_shards(job.inputs, recursive=job.recursive)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_locked(job.output))
        # The driver loads the network only to check the model and to export its graph for workers on this machine.
        estimator = job.options.load_estimator(device="cpu")
        settings, model = job.settings(estimator, format="parquet"), model_settings(estimator)
        if job.force:
            connect(address)  # before existing results are removed
        output = ShardedOutput(job.output, settings, shards, resume=job.resume, force=job.force)
        stack.enter_context(contextlib.closing(output))
        remaining = [shard for shard in shards if not output.contains(shard)]
        done = len(shards) - len(remaining)
        yield ClusterProgress(done, len(shards), output.rows, output.failed)
        if not remaining:
            return
        connect(address)
        with contextlib.closing(predict_shards(remaining, output, job.options, model, workers=workers)) as finished:
            issued: dict[str, str] = {}
            for shard in finished:
                warnings = [text for kind, text in shard.warnings.items() if kind not in issued]
                issued |= shard.warnings
                output.finish(shard.shard, shard.rows, shard.failed)
                done += 1
                yield ClusterProgress(done, len(shards), output.rows, output.failed, warnings)


@contextlib.contextmanager
def _locked(output: str) -> Iterator[None]:
    """Keep other processes from writing to the same folder, unless it is in an object store, which has no locks.

    Raises:
        HandPoseError: Another process is writing to it.
    """
    path = output.removeprefix("file://")
    folder = Path(path)
    if "://" in path or folder.is_file():  # a file is rejected as an output
        yield
        return
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = lock_output(folder / MANIFEST)
    try:
        yield
    finally:
        lock.release()
