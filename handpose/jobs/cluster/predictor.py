"""Prediction of frames by a worker of a cluster."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

from handpose.errors import HandPoseError
from handpose.inference.estimator import HandPoseEstimator
from handpose.inference.query import Query
from handpose.io.choices import BackendName, Precision, Views
from handpose.jobs.job import PredictOptions
from handpose.jobs.pipeline import FetchedFile, predict_files
from handpose.results.records import FailedFrame, Record

if TYPE_CHECKING:
    import pyarrow as pa


class HandPosePredictor:
    """A callable class for `ray.data.Dataset.map_batches` that loads the network once per worker.

    Its batches have a column `bytes` (complete depth files) and a column `path` (their names), such as those of
    `ray.data.read_binary_files(..., include_paths=True)`. It returns one row per frame, in order, with the fields of a
    JSON record. A frame that cannot be read or predicted produces a row with the status `error` and the reason.

    Args:
        model: Name, model folder, exported file or Hub repository of the weights; every machine must have access to
            it.
        query: Camera, unit and hand of all frames, and optionally one hand center or box for all of them.
        device: Device of the network: `auto`, `cpu`, `cuda`, `cuda:1`, ...
        backend: Runtime of the network: `torch`, `onnxruntime`, `openvino`, or `auto` for the fastest installed one.
        batch_size: Frames per pass through the network.
        views: Rotated copies of each crop to average over: 1, 2 or 4.
        max_hands: Maximum number of hands per frame; with more than one, each hand has a row.
        precision: Precision of the network: `float32`, or `int8`, which is faster and slightly less accurate.

    Raises:
        WeightsError: The weights do not exist, or cannot be downloaded or verified.
        HandPoseError: The device or backend is not available.
    """

    def __init__(
        self,
        model: str | PathLike[str] = "msra",
        query: Query = Query(),
        *,
        device: str = "auto",
        backend: BackendName = "auto",
        batch_size: int = 16,
        views: Views = 1,
        max_hands: int = 1,
        precision: Precision = "float32",
    ) -> None:
        self._options = PredictOptions(model, query, device, backend, batch_size, views, max_hands, precision)
        self._estimator = self._options.load_estimator()

    def __call__(self, batch: Mapping[str, Iterable[Any]]) -> pa.Table:
        """Predict a batch of frames.

        Raises:
            HandPoseError: A column is missing.
        """
        from handpose.results.table import to_table  # requires the extra `ray`

        try:
            columns = zip(batch["path"], batch["bytes"], strict=True)
        except KeyError as error:
            raise HandPoseError(
                f"batches must have the columns path and bytes, but {error} is missing; read the files with "
                "ray.data.read_binary_files(..., include_paths=True)"
            ) from None
        files = [_file(str(name), data) for name, data in columns]
        return to_table(predict_records(self._estimator, files, self._options))


def _file(name: str, data: object) -> FetchedFile:
    if isinstance(data, bytes):
        return FetchedFile(name, data)
    return FetchedFile(name, b"", f"{name}: the row contains no bytes")


def predict_records(
    estimator: HandPoseEstimator, files: Sequence[FetchedFile], options: PredictOptions
) -> list[Record]:
    """Predict the records of each file, in order: one per hand, or a single one without a hand or after an error."""
    # One thread reads and crops next to that of the network, because a cluster runs one worker per processor.
    results = predict_files(
        estimator, files, options.query, max_hands=options.max_hands, batch_size=options.batch_size, threads=1
    )
    records: list[Record] = []
    for file, result in zip(files, results, strict=True):
        records += result.poses or [FailedFrame.of(file.name, result.error, estimator.layout)]
    return records
