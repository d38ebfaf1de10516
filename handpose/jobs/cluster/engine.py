"""The job on Ray Data: shards are read, predicted and written side by side, and done again where a worker dies.

    from_items(shards) -> read (tasks) -> predict (a pool of actors, one network each) -> write (tasks)

A shard's frames travel in pieces, one row each, so that a piece is predicted in one call and written as one file.
What travels back to the driver is a few numbers per piece.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import warnings
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import ray
import ray.data

from handpose.errors import HandPoseError
from handpose.jobs.cluster.output import ShardedOutput, put
from handpose.jobs.cluster.predictor import HandPosePredictor
from handpose.jobs.cluster.readers import read_shard
from handpose.jobs.cluster.shards import InputFile, Shard
from handpose.jobs.cluster.table import parquet_of, table_of
from handpose.jobs.pipeline import FetchedFile

# Reading waits for the store more than it computes: beside each worker there is room for it. Writing hardly computes,
# and must not wait until all is read.
_WORKER_CPUS, _READ_CPUS, _WRITE_CPUS = 0.9, 0.1, 0
_WARNINGS = 3  # of one piece that are worth telling


class ShardDone(NamedTuple):
    """A shard all of whose rows are written.

    Attributes:
        shard: which.
        rows: how many frames it has.
        failed: how many of these are errors.
        warnings: some of what workers warned of.
    """

    shard: Shard
    rows: int
    failed: int
    warnings: list[str]


def connect(address: str | None) -> None:
    """Joins the cluster at `address`, or starts one of this machine's processors.

    Raises:
        HandPoseError: no cluster answers there.
    """
    if ray.is_initialized():
        return
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # its plans and tracebacks: what counts is raised here
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        if address is None:
            ray.init(address="local", include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
        else:
            host, colon, port = address.partition(":")
            if colon and port.isdecimal():  # Ray itself would try for minutes
                socket.create_connection((host, int(port)), timeout=10).close()
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
    except (OSError, ValueError, RuntimeError, OverflowError) as error:
        raise HandPoseError(f"no Ray cluster at {address or 'this machine'} ({error})") from None


def predict_shards(
    shards: Sequence[Shard],
    output: ShardedOutput,
    options: Mapping[str, Any],
    *,
    workers: int | None = None,
) -> Generator[ShardDone, None, None]:
    """Does shards on the cluster that `connect` joined, and gives each when all its parts are written.

    Args:
        shards: what to do.
        output: where the rows go.
        options: of `HandPosePredictor`.
        workers: the most networks at work; by default one for each GPU, or without any for each processor.

    Raises:
        HandPoseError: the workers cannot be started, or the output cannot be written.
    """
    gpus = 0 if options["device"] == "cpu" else int(ray.cluster_resources().get("GPU", 0))
    if options["device"].startswith("cuda") and not gpus:
        raise HandPoseError(f"device {options['device']}: the cluster has no GPU; use --device cpu")
    most = workers or gpus or max(1, int(ray.cluster_resources().get("CPU", 1)))
    context = ray.data.DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.target_max_block_size = 1  # each piece is a block of its own, that any worker can take
    jobs = [
        {"shard": number, "files": json.dumps(shard.files), "stem": output.stem(shard)}
        for number, shard in enumerate(shards)
    ]
    with ray.data.DataContext.current(context):
        pieces = (
            ray.data.from_items(jobs, override_num_blocks=len(jobs))
            .map_batches(
                _read,
                batch_size=1,
                batch_format="pyarrow",
                num_cpus=_READ_CPUS,
                fn_kwargs={"batch_size": options["batch_size"]},
            )
            .map_batches(
                _Worker,
                batch_size=1,
                batch_format="pyarrow",
                fn_constructor_kwargs=dict(options),
                compute=ray.data.ActorPoolStrategy(min_size=1, max_size=most),
                num_cpus=_WORKER_CPUS,
                num_gpus=1 if gpus else 0,
                runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}},
            )
            .map_batches(_write, batch_size=1, batch_format="pyarrow", num_cpus=_WRITE_CPUS)
        )
        yield from _whole_shards(shards, pieces.iter_rows())


def _whole_shards(shards: Sequence[Shard], pieces: Iterable[dict[str, Any]]) -> Iterator[ShardDone]:
    """Each shard once all its pieces have come, in whatever order."""
    come: dict[int, list[dict[str, Any]]] = defaultdict(list)
    try:
        for piece in pieces:
            if piece["error"]:
                raise HandPoseError(piece["error"])
            of_shard = come[piece["shard"]]
            of_shard.append(piece)
            if len(of_shard) == max(one["pieces"] for one in of_shard):
                del come[piece["shard"]]
                told = dict.fromkeys(warning for one in of_shard for warning in one["warnings"])
                rows, failed = (sum(one[key] for one in of_shard) for key in ("rows", "failed"))
                yield ShardDone(shards[piece["shard"]], rows, failed, list(told))
    except ray.exceptions.RayError as error:
        last = str(error).strip().splitlines()[-1]  # of the traceback on the other machine
        raise HandPoseError(f"a worker of the cluster failed: {last.removeprefix('handpose.errors.')}") from None


def _read(jobs: pa.Table, batch_size: int) -> Iterator[pa.Table]:
    """Pieces of a shard, each a row; `pieces` is their number in the last one, and 0 in the others."""
    (job,) = jobs.to_pylist()
    shard = Shard(tuple(InputFile(*values) for values in json.loads(job["files"])))
    number, piece = 0, None
    for following in read_shard(shard, batch_size):
        if piece is not None:
            yield _piece(job, number, piece, 0)
            number += 1
        piece = following
    assert piece is not None  # a shard has frames, or tells why not
    yield _piece(job, number, piece, number + 1)


def _piece(job: Mapping[str, Any], number: int, files: Sequence[FetchedFile], pieces: int) -> pa.Table:
    names, data, reasons = zip(*files, strict=True)
    return pa.table(
        {
            "shard": [job["shard"]],
            "part": [f"{job['stem']}-{number:05d}.parquet"],
            "pieces": [pieces],
            "names": pa.array([names], pa.list_(pa.string())),
            "data": pa.array([data], pa.list_(pa.large_binary())),
            "reasons": pa.array([reasons], pa.list_(pa.string())),
        }
    )


class _Worker(HandPosePredictor):
    """Predicts pieces, which leave as the bytes of Parquet files."""

    def __call__(self, pieces: pa.Table) -> pa.Table:
        (piece,) = pieces.to_pylist()
        files = [FetchedFile(*values) for values in zip(piece["names"], piece["data"], piece["reasons"], strict=True)]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("once", UserWarning)
            records = self.records(files)
        return pa.table(
            {
                "shard": [piece["shard"]],
                "part": [piece["part"]],
                "pieces": [piece["pieces"]],
                "rows": [len(records)],
                "failed": [sum(record.status == "error" for record in records)],
                "warnings": pa.array([[str(one.message) for one in caught][:_WARNINGS]], pa.list_(pa.string())),
                "parquet": pa.array([parquet_of(table_of(records))], pa.large_binary()),
            }
        )


def _write(parts: pa.Table) -> pa.Table:
    """Writes a part; what is wrong with the output is told rather than raised, since Ray would try again and again."""
    (part,) = parts.to_pylist()
    try:
        put(part["part"], part["parquet"])
        error = ""
    except HandPoseError as wrong:
        error = str(wrong)
    return parts.drop_columns(["part", "parquet"]).append_column("error", pa.array([error]))
