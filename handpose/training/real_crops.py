"""Augmented training crops of a data set."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from handpose.datasets.crops import reader_errors, reader_pool
from handpose.datasets.dataset import HandDataset
from handpose.errors import HandPoseError
from handpose.geometry.crop import PATCH
from handpose.io.warn import warn_skipped
from handpose.training.augmentation import Augmentation, Move

if TYPE_CHECKING:
    import torch

_ATTEMPTS = 50


class DatasetCrops:
    """Augmented training crops of a data set: passes over its frames, each in another random order.

    What is not labeled is NaN in the joints of a batch.

    A batch depends only on the seed, on the number of its first crop and on the state of `generator`, for any number of
    workers. Frames with unreadable images are replaced by others, with a warning, and added to `unreadable`.

    Attributes:
        generator: Source of all random samples, except for the order of the frames.
        unreadable: The unreadable frames so far, and the reasons, by index.
    """

    def __init__(
        self,
        dataset: HandDataset,
        *,
        augmentation: Augmentation | None = Augmentation(),  # noqa: B008  # frozen
        uv_scale: float = PATCH - 1,
        seed: int = 0,
        workers: int = 0,
        device: str = "cpu",
    ) -> None:
        """Start the worker processes, if any.

        Args:
            dataset: The data set.
            augmentation: Ranges of the augmentation; without it, only the size of the cube varies.
            uv_scale: Patch pixels that correspond to a normalized u or v of 1.
            seed: Seed of the generator and of the order of the frames.
            workers: Number of processes that compute each batch; 0 computes it in this process.
            device: Device of the batches.
        """
        import torch

        self.generator = torch.Generator().manual_seed(seed)
        self.unreadable: dict[int, str] = {}
        self._dataset, self._augmentation, self._uv_scale = dataset, augmentation, uv_scale
        self._usable, self._device = dataset.usable, device
        self._seed, self._next, self._pass, self._order = seed, 0, -1, self._usable
        if len(self._usable) == 0:
            raise HandPoseError(
                f"{dataset.origin}: none of the {len(dataset)} frames of {dataset.name} {dataset.split} can be used; "
                f"the first: {next(iter(dataset.damaged.values()), 'the data set is empty')}"
            )
        self._pool = reader_pool(workers) if workers else None
        self._workers = max(1, workers)

    def seek(self, crop: int) -> None:
        """Continue with the crop of this number: the numbers of a pass are consecutive, and 0 starts the first pass."""
        self._next = crop

    def batch(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the next `count` patches (N, 1, 96, 96) float32 and joints (N, J, 3) float32, both normalized.

        Raises:
            HandPoseError: Too many of the sampled frames are unreadable, or a worker process ended unexpectedly.

        Warns:
            SkippedFrameWarning: A frame is unreadable.
        """
        import torch

        seeds = torch.randint(0, 2**62, (count,), generator=self.generator).tolist()
        randoms = [np.random.default_rng(seed) for seed in seeds]
        patches = np.empty((count, 1, PATCH, PATCH), np.float32)
        uvz = np.empty((count, len(self._dataset.layout), 3), np.float32)
        frames = [self._frame() for _ in range(count)]
        pending = list(range(count))
        for _ in range(_ATTEMPTS):
            samples = [self._sample(frames[position], randoms[position]) for position in pending]
            failed = []
            for position, (index, *_), result in zip(pending, samples, self._crop(samples), strict=True):
                if isinstance(result, str):
                    if index not in self.unreadable:
                        warn_skipped(self._dataset.files[index], result)
                    self.unreadable[index] = result
                    frames[position] = int(randoms[position].choice(self._usable))
                    failed.append(position)
                else:
                    patches[position, 0], uvz[position] = result
            pending = failed
            if not pending:
                return torch.from_numpy(patches).to(self._device), torch.from_numpy(uvz).to(self._device)
        index, reason = next(iter(self.unreadable.items()))
        raise HandPoseError(
            f"{len(self.unreadable)} frames of {self._dataset.name} {self._dataset.split} are unreadable, such as "
            f"{self._dataset.files[index]}: {reason}"
        )

    def close(self) -> None:
        """Stop the worker processes."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _frame(self) -> int:
        """Return the index of the next frame."""
        number, position = divmod(self._next, len(self._usable))
        if number != self._pass:
            self._pass, self._order = number, np.random.default_rng((self._seed, number)).permutation(self._usable)
        self._next += 1
        return int(self._order[position])

    def _sample(self, index: int, random: np.random.Generator) -> tuple[int, float, Move]:
        cube = float(random.uniform(*self._dataset.train_cubes))
        return index, cube, Move() if self._augmentation is None else self._augmentation.sample(random)

    def _crop(self, samples: list[tuple[int, float, Move]]) -> list[tuple[np.ndarray, np.ndarray] | str]:
        size = -(-len(samples) // self._workers)
        tasks = []
        for start in range(0, len(samples), size):
            part = samples[start : start + size]
            moves = [(cube, move) for _, cube, move in part]
            tasks.append((self._dataset.subset([index for index, *_ in part]), moves, self._uv_scale))
        submit: Callable[..., Any] = map if self._pool is None else self._pool.map
        with reader_errors():
            return [result for results in submit(_crop_augmented, *zip(*tasks, strict=True)) for result in results]


def _crop_augmented(
    part: HandDataset, moves: list[tuple[float, Move]], uv_scale: float
) -> list[tuple[np.ndarray, np.ndarray] | str]:
    results: list[tuple[np.ndarray, np.ndarray] | str] = []
    for position, (cube, move) in enumerate(moves):
        try:
            frame = part[position].as_right()
            if frame.center is None:
                raise HandPoseError("no hand was found")
            crop = move.cut(frame.depth, frame.camera, frame.center, cube)
        except HandPoseError as error:
            results.append(str(error))
        else:
            xyz = move.points(frame.xyz, frame.center)
            results.append((crop.patch, frame.targets(crop.normalize(crop.camera.project(xyz), uv_scale))))
    return results
