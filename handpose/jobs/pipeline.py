"""Many files: read, crop and predict at the same time, in constant memory, and let one bad file fail alone."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice, repeat
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from handpose.errors import DepthReadError, HandPoseError
from handpose.inference.candidates import Candidates
from handpose.inference.estimator import HandPoseEstimator
from handpose.inference.query import Query
from handpose.io.depth.read import decode_depth, read_depth
from handpose.io.depth.units import DepthUnit
from handpose.io.warn import Note, warn, warnings_noted
from handpose.results.pose import HandPose

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class FetchedFile(NamedTuple):
    """A depth file that was fetched from somewhere.

    Attributes:
        name: what it is called; errors begin with it.
        data: what it holds.
        reason: why it holds nothing, or empty.
    """

    name: str
    data: bytes
    reason: str = ""

    def __str__(self) -> str:
        return self.name


_File = TypeVar("_File", Path, FetchedFile)


@dataclass(frozen=True, eq=False)
class FileResult(Generic[_File]):
    """What became of one file: a pose, and the depth image (H, W) mm if it is kept, or an error."""

    path: _File
    pose: HandPose | None = None
    depth: np.ndarray | None = None
    error: HandPoseError | None = None


def predict_files(
    estimator: HandPoseEstimator,
    paths: Iterable[_File],
    query: Query = Query(),
    *,
    centers: Iterable[np.ndarray] | None = None,
    batch_size: int = 16,
    keep_depth: bool = False,
    threads: int | None = None,
) -> Generator[FileResult[_File], None, None]:
    """The results of all files, in order.

    Threads read and crop the next files while the network is busy with a batch and the caller with the one before.
    Only so many files are on their way that memory does not grow with their number.

    Args:
        estimator: what predicts.
        paths: depth files, or what was fetched of them.
        query: What is known about all files.
        centers: (3,) mm, the hand center of each file, instead of that of `query`; NaN for a file without a hand.
        batch_size: files per pass through the network.
        keep_depth: give the depth images too, in the results.
        threads: how many read and crop; by default one for each processor.

    Raises:
        DeviceMemoryError: the device has no room for a single crop.
    """

    def find(job: tuple[_File, np.ndarray | None]) -> tuple[FileResult[_File], Candidates | None, list[Note]]:
        path, center = job
        notes: list[Note] = []
        try:
            with warnings_noted(notes):
                depth = read_depth(path, query.unit) if isinstance(path, Path) else _decode(path, query.unit)
                found = estimator.find(
                    depth, query if center is None else replace(query, center=center), source=str(path)
                )
        except DepthReadError as error:
            return FileResult(path, error=error), None, notes
        except HandPoseError as error:
            return FileResult(path, error=HandPoseError(f"{path}: {error}")), None, notes
        return FileResult(path, depth=depth if keep_depth else None), found, notes

    def warned(
        results: Iterable[tuple[FileResult[_File], Candidates | None, list[Note]]],
    ) -> Iterator[tuple[FileResult[_File], Candidates | None]]:
        for result, found, notes in results:
            for note in notes:
                warn(*note)
            yield result, found

    def predict(batch: list[tuple[FileResult[_File], Candidates | None]]) -> list[FileResult[_File]]:
        try:
            poses = iter(estimator.poses([found for _, found in batch if found is not None]))
        except HandPoseError as error:
            if len(batch) == 1:
                return [FileResult(batch[0][0].path, error=HandPoseError(f"{batch[0][0].path}: {error}"))]
            return [result for one in batch for result in predict([one])]  # the others must not suffer for it
        return [result if found is None else replace(result, pose=next(poses)) for result, found in batch]

    readers, network = ThreadPoolExecutor(threads or os.cpu_count()), ThreadPoolExecutor(1)
    try:
        jobs = zip(paths, repeat(None) if centers is None else centers)  # noqa: B905 - `repeat` has no end
        found = warned(_ahead(readers, find, jobs, 2 * batch_size))
        batches = iter(lambda: list(islice(found, batch_size)), [])
        for results in _ahead(network, predict, batches, 1):
            yield from results
    finally:
        for pool in (readers, network):
            pool.shutdown(cancel_futures=True)


def _decode(file: FetchedFile, unit: DepthUnit) -> np.ndarray:
    if file.reason:
        raise DepthReadError(file.reason)
    return decode_depth(file.data, file.name, unit)


def _ahead(
    pool: Executor, function: Callable[[_Item], _Result], items: Iterable[_Item], most: int
) -> Iterator[_Result]:
    """`function` of each item, in order; the pool works on at most `most` items more than were asked for."""
    pending: deque[Future[_Result]] = deque()
    for item in items:
        pending.append(pool.submit(function, item))
        if len(pending) > most:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()
