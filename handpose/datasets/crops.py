"""Crops of the frames of a data set, in order."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import numpy as np

from handpose.datasets.dataset import HandDataset
from handpose.errors import HandPoseError
from handpose.geometry.crop import PATCH, HandCrop

_CHUNK = 16  # frames per task of a worker process


@dataclass(frozen=True, eq=False)
class CropItem:
    """The crop of a frame, or the reason why there is none.

    Attributes:
        index: Index of the frame in its data set.
        name: File of the frame.
        crop: Crop of the frame.
        uvz: (J, 3) true joints, normalized in the crop; NaN for what is not labeled.
        problem: The reason why there is no crop.
    """

    index: int
    name: str
    crop: HandCrop | None = None
    uvz: np.ndarray | None = None
    problem: str | None = None


def read_crops(
    dataset: HandDataset,
    indices: Sequence[int] | np.ndarray | None = None,
    *,
    workers: int = 0,
    uv_scale: float = PATCH - 1,
) -> Iterator[CropItem]:
    """Yield the crops of frames, in order, with one item for every frame, readable or not.

    Args:
        dataset: The data set.
        indices: Indices of the frames; all frames by default.
        workers: Number of processes that read ahead; 0 reads in this process.
        uv_scale: Patch pixels that correspond to a normalized u or v of 1.

    Raises:
        HandPoseError: A process ended unexpectedly.
    """
    numbers = range(len(dataset)) if indices is None else [int(i) for i in indices]
    chunks = (numbers[start : start + _CHUNK] for start in range(0, len(numbers), _CHUNK))
    tasks = ((dataset.subset(chunk), list(chunk), uv_scale) for chunk in chunks)
    if workers == 0:
        for task in tasks:
            yield from _read_chunk(*task)
        return
    with reader_pool(workers) as pool, reader_errors():
        try:
            waiting: deque[Future[list[CropItem]]] = deque()
            for task in tasks:
                waiting.append(pool.submit(_read_chunk, *task))
                if len(waiting) > 2 * workers:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def reader_pool(workers: int) -> ProcessPoolExecutor:
    """Return a pool of processes that read images."""
    # Forking a process that has threads or a GPU can hang it.
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))


@contextlib.contextmanager
def reader_errors() -> Iterator[None]:
    """Explain why the processes of a `reader_pool` have ended during this block, if they have."""
    try:
        yield
    except BrokenProcessPool:
        raise HandPoseError(
            "a process that loads images ended unexpectedly, perhaps because the memory is full; use fewer "
            "`workers=...`, and start a Python program with `if __name__ == '__main__'`"
        ) from None


def _read_chunk(part: HandDataset, numbers: list[int], uv_scale: float) -> list[CropItem]:
    items = []
    for position, index in enumerate(numbers):
        try:
            frame = part[position]
            if frame.center is None:
                raise HandPoseError(part.damaged.get(position, "no hand was found"))
            crop = HandCrop.cut(frame.depth, frame.camera, frame.center, frame.cube, mirror=frame.hand == "left")
        except HandPoseError as error:
            items.append(CropItem(index, part.files[position], problem=str(error)))
        else:
            uvz = frame.targets(crop.normalize(crop.camera.project(frame.xyz), uv_scale))
            items.append(CropItem(index, frame.name, crop, uvz))
    return items
