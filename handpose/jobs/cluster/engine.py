"""The Ray Data pipeline that reads, predicts and writes shards in parallel, and repeats them if a worker dies.

    from_items(shards) -> read (tasks) -> predict (a pool of actors, one network each) -> write (tasks)

A shard travels in pieces, one row each, so that a piece is predicted in one call and written as one file. Only a few
numbers per piece return to the driver.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import pyarrow as pa
import ray
import ray.data

from handpose.errors import HandPoseError
from handpose.io.text import as_unicode
from handpose.io.warn import Note, collect_warnings, kind
from handpose.jobs.cluster.output import ShardedOutput, write_url
from handpose.jobs.cluster.predictor import predict_records
from handpose.jobs.cluster.readers import read_shard
from handpose.jobs.cluster.shards import InputFile, Shard
from handpose.jobs.job import PredictOptions, model_settings
from handpose.jobs.pipeline import FetchedFile
from handpose.results.table import encode_parquet, to_table

# Reading mostly waits for the storage, so a reader fits next to each worker. Writing hardly computes, and must not wait
# until all shards are read.
_WORKER_CPUS, _READ_CPUS, _WRITE_CPUS = 0.9, 0.1, 0
_MAX_WARNINGS = 3  # per piece
_CONNECT_TIMEOUT_S = 10


class ShardDone(NamedTuple):
    """A shard whose rows are all written.

    Attributes:
        shard: The shard.
        rows: Number of its frames.
        failed: Number of its frames that are errors.
        warnings: A few of the workers' warnings, by their kind.
    """

    shard: Shard
    rows: int
    failed: int
    warnings: dict[str, str]


def connect(address: str | None) -> None:
    """Connect to the cluster at `address`, or start one that uses the processors of this machine.

    Raises:
        HandPoseError: No cluster answers at `address`, or none can be started.
    """
    if ray.is_initialized():
        return
    # Ray Data logs plans and tracebacks; errors are raised here instead.
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        if address is None:
            ray.init(address="local", include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
        else:
            host, colon, port = address.partition(":")
            if colon and port.isdecimal():  # Ray itself would try for minutes
                socket.create_connection((host, int(port)), timeout=_CONNECT_TIMEOUT_S).close()
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
    except Exception as error:  # Ray raises plain exceptions, for example on an overloaded machine
        problem = "Ray cannot be started" if address is None else f"no Ray cluster at {address}"
        raise HandPoseError(f"{problem} ({' '.join(str(error).split())})") from None


def predict_shards(
    shards: Sequence[Shard],
    output: ShardedOutput,
    options: PredictOptions,
    model: Mapping[str, str],
    *,
    workers: int | None = None,
) -> Generator[ShardDone, None, None]:
    """Predict shards on the cluster that `connect` joined, and yield each shard when all its parts are written.

    Args:
        shards: Shards to predict.
        output: Output of the rows.
        options: How frames are predicted.
        model: What `model_settings` must return for the estimator of every worker.
        workers: Maximum number of model replicas; by default one per GPU, or per processor on a cluster without GPUs.

    Raises:
        HandPoseError: The workers cannot be started or have another model, or the output cannot be written.
    """
    gpus = 0 if options.device == "cpu" else int(ray.cluster_resources().get("GPU", 0))
    if options.device.startswith("cuda") and not gpus:
        raise HandPoseError(f"device {options.device}: the cluster has no GPU; use `device=cpu`")
    max_workers = workers or gpus or max(1, int(ray.cluster_resources().get("CPU", 1)))
    context = ray.data.DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.target_max_block_size = 1  # each piece is a separate block, which any worker can take
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
                fn_kwargs={"batch_size": options.batch_size},
            )
            .map_batches(
                _Worker,
                batch_size=1,
                batch_format="pyarrow",
                fn_constructor_args=(options, model),
                compute=ray.data.ActorPoolStrategy(min_size=1, max_size=max_workers),
                num_cpus=_WORKER_CPUS,
                num_gpus=1 if gpus else 0,
                runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}},
            )
            .map_batches(_write, batch_size=1, batch_format="pyarrow", num_cpus=_WRITE_CPUS)
        )
        yield from _complete_shards(shards, pieces.iter_rows())


def _complete_shards(shards: Sequence[Shard], pieces: Iterable[dict[str, Any]]) -> Iterator[ShardDone]:
    """Yield each shard once all its pieces have arrived, in any order."""
    arrived: dict[int, list[dict[str, Any]]] = defaultdict(list)
    try:
        for piece in pieces:
            if piece["error"]:
                raise HandPoseError(piece["error"])
            of_shard = arrived[piece["shard"]]
            of_shard.append(piece)
            if len(of_shard) == max(other["pieces"] for other in of_shard):
                del arrived[piece["shard"]]
                warnings = {name: text for other in of_shard for name, text in json.loads(other["warnings"]).items()}
                rows, failed = (sum(other[key] for other in of_shard) for key in ("rows", "failed"))
                yield ShardDone(shards[piece["shard"]], rows, failed, warnings)
    except ray.exceptions.RayError as error:
        last = str(error).strip().splitlines()[-1]  # of the traceback on the other machine
        raise HandPoseError(f"a worker of the cluster failed: {last.removeprefix('handpose.errors.')}") from None


def _read(jobs: pa.Table, batch_size: int) -> Iterator[pa.Table]:
    """Yield the pieces of a shard, one row each; only the last one contains their number, the others contain 0."""
    (job,) = jobs.to_pylist()
    shard = Shard(tuple(InputFile(*values) for values in json.loads(job["files"])))
    number, piece = 0, None
    for following in read_shard(shard, batch_size):
        if piece is not None:
            yield _piece(job, number, piece, 0)
            number += 1
        piece = following
    assert piece is not None  # a shard without frames has an entry with the reason
    yield _piece(job, number, piece, number + 1)


def _piece(job: Mapping[str, Any], number: int, files: Sequence[FetchedFile], pieces: int) -> pa.Table:
    names, data, reasons = zip(*files, strict=True)
    return pa.table(
        {
            "shard": [job["shard"]],
            "part": [f"{job['stem']}-{number:05d}.parquet"],
            "pieces": [pieces],
            "names": pa.array([[*map(as_unicode, names)]], pa.list_(pa.string())),
            "data": pa.array([data], pa.list_(pa.large_binary())),
            "reasons": pa.array([[*map(as_unicode, reasons)]], pa.list_(pa.string())),
        }
    )


class _Worker:
    """Predict pieces, and encode their records as Parquet files."""

    def __init__(self, options: PredictOptions, model: Mapping[str, str]) -> None:
        self._options = options
        self._estimator = options.load_estimator()
        for name, own in model_settings(self._estimator).items():
            if own != model[name]:
                raise HandPoseError(
                    f"{socket.gethostname()}: expected {name} {model[name]}, got {own}; every machine needs the same "
                    "version of handpose and the same model"
                )

    def __call__(self, pieces: pa.Table) -> pa.Table:
        (piece,) = pieces.to_pylist()
        files = [FetchedFile(*values) for values in zip(piece["names"], piece["data"], piece["reasons"], strict=True)]
        notes: list[Note] = []
        with collect_warnings(notes):
            records = predict_records(self._estimator, files, self._options)
        messages = {" ".join(kind(note.message, note.category)): note.text for note in notes}
        return pa.table(
            {
                "shard": [piece["shard"]],
                "part": [piece["part"]],
                "pieces": [piece["pieces"]],
                "rows": [len(files)],
                "failed": [sum(record.status == "error" for record in records)],
                "warnings": [json.dumps(dict(islice(messages.items(), _MAX_WARNINGS)))],
                "parquet": pa.array([encode_parquet(to_table(records))], pa.large_binary()),
            }
        )


def _write(parts: pa.Table) -> pa.Table:
    """Write a part; an error of the output is returned, because Ray would retry a task that raises."""
    (part,) = parts.to_pylist()
    try:
        write_url(part["part"], part["parquet"])
        message = ""
    except HandPoseError as error:
        message = str(error)
    return parts.drop_columns(["part", "parquet"]).append_column("error", pa.array([message]))
