"""The network as a worker of a cluster."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from typing import Any

import pyarrow as pa

from handpose.inference.estimator import HandPoseEstimator
from handpose.inference.query import Query
from handpose.jobs.cluster.table import table_of
from handpose.jobs.pipeline import FetchedFile, predict_files
from handpose.results.records import FailedFrame, Record
from handpose.runtimes.base import BackendName


class HandPosePredictor:
    """For `ray.data.Dataset.map_batches`: loads the network once in each worker, and turns frames into records.

    Takes batches with a column `bytes`, whole depth files, and a column `path`, what they are called, as
    `ray.data.read_binary_files(..., include_paths=True)` gives them; returns a row for each, in order, with the
    fields of a line of `handpose predict`. A frame that has no pose because something is wrong with it is a row
    with status `error` and the reason.

    Args:
        model: as in `HandPoseEstimator.from_pretrained`, like `device` and `backend`; every machine must have it.
        query: What is known about all frames.
        device: of the network.
        backend: what runs the network.
        batch_size: frames per pass through the network.

    Raises:
        HandPoseError: as `HandPoseEstimator.from_pretrained`.
    """

    def __init__(
        self,
        model: str | PathLike[str] = "msra",
        query: Query = Query(),
        *,
        device: str = "auto",
        backend: BackendName = "auto",
        batch_size: int = 16,
    ) -> None:
        self._estimator = HandPoseEstimator.from_pretrained(model, device=device, backend=backend)
        self._query, self._batch_size = query, batch_size

    def __call__(self, batch: Mapping[str, Iterable[Any]]) -> pa.Table:
        """Records of a batch of frames."""
        files = [FetchedFile(str(name), data) for name, data in zip(batch["path"], batch["bytes"], strict=True)]
        return table_of(self.records(files))

    def records(self, files: Sequence[FetchedFile]) -> list[Record]:
        """A record for each file, in order."""
        # One thread reads and crops beside the network's: a cluster has a worker for each processor.
        results = predict_files(self._estimator, files, self._query, batch_size=self._batch_size, threads=1)
        return [
            result.pose or FailedFrame(file.name, str(result.error), self._estimator.layout)
            for file, result in zip(files, results, strict=True)
        ]
