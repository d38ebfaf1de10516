"""Prediction of many files in constant memory, with reading, cropping and the network running in parallel."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar, overload

import numpy as np

from handpose.errors import DepthReadError, HandPoseError
from handpose.inference.candidates import Candidates
from handpose.inference.estimator import HandPoseEstimator, check_estimator
from handpose.inference.query import Query
from handpose.io.arguments import check_count, check_kind
from handpose.io.depth.read import SUFFIXES, decode_depth, read_depth
from handpose.io.depth.units import DepthUnit, unit_of, warn_about_unit
from handpose.io.inputs import list_files
from handpose.io.warn import Note, collect_warnings, kind
from handpose.recordings.recording import StoredFrame
from handpose.results.pose import HandPose

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class FetchedFile(NamedTuple):
    """A depth file whose bytes are in memory.

    Attributes:
        name: Name of the file, used in records and errors.
        data: Content of the file.
        reason: Why the file could not be read, or empty.
    """

    name: str
    data: bytes
    reason: str = ""

    def __str__(self) -> str:
        return self.name


File = TypeVar("File", bound=Path | FetchedFile | StoredFrame)


@dataclass(frozen=True, eq=False)
class FileResult(Generic[File]):
    """The result of one file: poses or an error.

    Attributes:
        path: The depth file, or the frame of a recording.
        poses: The predicted pose of each hand, nearest first; a single one with the status `no_hand` if there is no
            hand; none if the file failed.
        depth: (H, W) depth image in mm, if `keep_depth` was set.
        error: Why the file failed.
        time: Capture time of the frame of a recording, in s.
    """

    path: File
    poses: tuple[HandPose, ...] = ()
    depth: np.ndarray | None = None
    error: HandPoseError | None = None
    time: float | None = None

    @property
    def pose(self) -> HandPose | None:
        """The only or nearest pose, or None if the file failed."""
        return self.poses[0] if self.poses else None


# fmt: off
@overload
def predict_files(
    estimator: HandPoseEstimator, paths: str | Path | Iterable[str], query: Query = ..., *,
    centers: Iterable[np.ndarray] | None = None, max_hands: int = 1, batch_size: int = 16, keep_depth: bool = False,
    threads: int | None = None, recursive: bool = ...,
) -> Generator[FileResult[Path], None, None]: ...


@overload
def predict_files(
    estimator: HandPoseEstimator, paths: Iterable[File], query: Query = ..., *,
    centers: Iterable[np.ndarray] | None = None, max_hands: int = 1, batch_size: int = 16, keep_depth: bool = False,
    threads: int | None = None, recursive: bool = ...,
) -> Generator[FileResult[File], None, None]: ...
# fmt: on


def predict_files(
    estimator: HandPoseEstimator,
    paths: str | Path | Iterable[Any],
    query: Query = Query(),
    *,
    centers: Iterable[np.ndarray] | None = None,
    max_hands: int = 1,
    batch_size: int = 16,
    keep_depth: bool = False,
    threads: int | None = None,
    recursive: bool = False,
) -> Generator[FileResult[Any], None, None]:
    """Predict the poses of many files, and yield one result per file, in order.

    Threads read and crop files while the network processes a batch and the caller processes the previous one. The
    number of files in memory is bounded. A file that cannot be read or predicted yields an error and does not affect
    the others. Each kind of warning is issued once; `HandPose.warnings` contains those of each file.

    Args:
        estimator: Estimator to use.
        paths: A depth file, a folder or a glob, or several of these; or `FetchedFile`s, or frames of recordings.
        query: Camera, unit and hand of all files, and optionally one hand center or box for all of them.
        centers: Hand center (3,) of each file in the camera frame, in mm, instead of that of `query`; NaN for a file
            without a hand.
        max_hands: Maximum number of hands per file; with more than one, a hand center cannot be given.
        batch_size: Files per pass through the network.
        keep_depth: Include the depth images in the results.
        threads: Number of threads that read and crop; one per processor by default.
        recursive: Include the subfolders of folders.

    Raises:
        HandPoseError: A folder contains no depth file, or a glob matches none.
        DeviceMemoryError: The device has too little memory for a single crop.
    """
    check_estimator(estimator)
    check_kind("query", query, Query, "a handpose.Query, such as Query(camera)")
    counts = {"max_hands": max_hands, "batch_size": batch_size}
    for name, value in (counts if threads is None else counts | {"threads": threads}).items():
        check_count(name, value)
    files_of = _files_of([paths] if isinstance(paths, (str, Path)) else paths, recursive)
    steps, issued = _Steps(estimator, query, max_hands, keep_depth), set[object]()
    readers, network = ThreadPoolExecutor(threads or os.cpu_count()), ThreadPoolExecutor(1)
    try:
        prepared = _map_ahead(readers, steps.prepare, _with_centers(files_of, centers), 2 * batch_size)
        batches = iter(lambda: list(islice(prepared, batch_size)), [])
        for results, warnings in _map_ahead(network, steps.predict_batch, batches, 1):
            _issue_once(warnings, issued)
            yield from results
    finally:
        for pool in (readers, network):
            pool.shutdown(cancel_futures=True)


def _with_centers(files: Iterable[_Item], centers: Iterable[Any] | None) -> Iterator[tuple[_Item, Any]]:
    """Yield each file with its hand center, or None."""
    if centers is None:
        yield from ((file, None) for file in files)
        return
    check_kind("centers", centers, Iterable, "hand centers x, y, z in mm, one per file")
    missing: Any = object()
    remaining = iter(centers)
    for file in files:
        center = next(remaining, missing)
        if center is missing:
            raise HandPoseError("centers must be one per file, got fewer")
        yield file, center
    if isinstance(centers, Sized) and next(remaining, missing) is not missing:  # a generator may be endless
        raise HandPoseError("centers must be one per file, got more")


def _files_of(paths: Iterable[Any], recursive: bool) -> Iterator[Any]:
    """Yield the files that folders and globs stand for, and everything else as it is."""
    check_kind("paths", paths, Iterable, "depth files, folders or globs")
    for path in paths:
        check_kind("paths", path, (str, Path, FetchedFile, StoredFrame), "depth files, folders or globs")
        if isinstance(path, str) or (isinstance(path, Path) and path.is_dir()):
            yield from list_files([str(path)], SUFFIXES, recursive=recursive)
        else:
            yield path


@dataclass(frozen=True, eq=False)
class _PreparedFile(Generic[File]):
    """A file before the network: its hands' candidates, or its error, and the warnings of the thread that read it."""

    result: FileResult[File]
    hands: list[Candidates]
    warnings: list[Note]


@dataclass(frozen=True)
class _Steps:
    """The two steps of `predict_files`; many threads prepare files while one predicts batches."""

    estimator: HandPoseEstimator
    query: Query
    max_hands: int
    keep_depth: bool

    def prepare(self, file: tuple[File, np.ndarray | None]) -> _PreparedFile[File]:
        """Read a file and crop its candidates."""
        path, center = file
        reading, warnings = list[Note](), list[Note]()
        try:
            with collect_warnings(reading):
                query = self.query if center is None else replace(self.query, center=center)
                time = None
                if isinstance(path, StoredFrame):
                    depth, camera, time, unit, _ = path.decode()
                    warn_about_unit(depth, unit, str(path), integers=True)
                    query = replace(query, camera=camera, unit=unit_of(unit))
                else:
                    depth = read_depth(path, query.unit) if isinstance(path, Path) else _decode(path, query.unit)
            with collect_warnings(warnings):
                if self.max_hands == 1:
                    hands = [self.estimator.find(depth, query, source=str(path))]
                else:
                    hands = self.estimator.find_hands(depth, query, self.max_hands, source=str(path))
        except DepthReadError as error:  # it starts with the path
            return _PreparedFile(FileResult(path, error=error), [], reading)
        except HandPoseError as error:
            return _PreparedFile(_failed(path, error), [], reading + warnings)
        hands[0] = replace(hands[0], notes=tuple(reading))
        warnings = [note._replace(image=str(path)) for note in warnings]
        return _PreparedFile(FileResult(path, depth=depth if self.keep_depth else None, time=time), hands, warnings)

    def predict_batch(self, batch: list[_PreparedFile[File]]) -> tuple[list[FileResult[File]], list[Note]]:
        """Run the network on a batch, and return its results with the warnings of all threads."""
        warnings = [warning for file in batch for warning in file.warnings]
        with collect_warnings(warnings):
            return self.predict(batch), warnings

    def predict(self, batch: list[_PreparedFile[File]]) -> list[FileResult[File]]:
        """Run the network on a batch."""
        try:
            poses = iter(self.estimator.hands([file.hands for file in batch if file.hands]))
        except HandPoseError as error:
            if len(batch) == 1:
                return [_failed(batch[0].result.path, error)]
            # Retry one by one so that one failure does not fail the batch.
            return [result for file in batch for result in self.predict([file])]
        return [_with_poses(file.result, next(poses)) if file.hands else file.result for file in batch]


def _with_poses(result: FileResult[File], poses: Iterable[HandPose]) -> FileResult[File]:
    if result.time is not None:
        poses = [replace(pose, time=result.time) for pose in poses]
    return replace(result, poses=tuple(poses))


def _failed(path: File, error: HandPoseError) -> FileResult[File]:
    return FileResult(path, error=HandPoseError(f"{path}: {error}"))


def _decode(file: FetchedFile, unit: DepthUnit) -> np.ndarray:
    if file.reason:
        raise DepthReadError(file.reason)
    return decode_depth(file.data, file.name, unit)


def _issue_once(warnings: Iterable[Note], issued: set[object]) -> None:
    """Issue the warnings of other threads in the caller's thread, each kind once, for its first file."""
    for warning in warnings:
        if (own := kind(warning.message, warning.category)) not in issued:
            issued.add(own)
            warning._replace(is_named=True).issue()


def _map_ahead(
    pool: Executor, function: Callable[[_Item], _Result], items: Iterable[_Item], ahead: int
) -> Iterator[_Result]:
    """Map in order, with at most `ahead` items submitted beyond those that were consumed."""
    pending: deque[Future[_Result]] = deque()
    for item in items:
        pending.append(pool.submit(function, item))
        if len(pending) > ahead:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()
