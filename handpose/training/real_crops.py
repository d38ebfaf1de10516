"""Augmented training crops of a data set."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from handpose.datasets.crops import reader_pool
from handpose.datasets.dataset import HandDataset
from handpose.errors import HandPoseError
from handpose.geometry.crop import PATCH
from handpose.training.augmentation import Augmentation, Move

if TYPE_CHECKING:
    import torch

_ATTEMPTS = 50


class DatasetCrops:
    """Augmented training crops of a data set, sampled with replacement.

    A batch depends only on the state of `generator`, for any number of workers. Frames with unreadable images are
    replaced by others and added to `unreadable`.

    Attributes:
        generator: Source of all random samples.
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
            seed: Seed of the generator.
            workers: Number of processes that compute each batch; 0 computes it in this process.
            device: Device of the batches.
        """
        import torch

        self.generator = torch.Generator().manual_seed(seed)
        self.unreadable: dict[int, str] = {}
        self._dataset, self._augmentation, self._uv_scale = dataset, augmentation, uv_scale
        self._usable, self._device = dataset.usable, device
        if len(self._usable) == 0:
            raise HandPoseError(
                f"{dataset.root}: none of the {len(dataset)} frames of {dataset.name} {dataset.split} can be used; "
                f"the first: {next(iter(dataset.damaged.values()), 'the data set is empty')}"
            )
        self._pool = reader_pool(workers) if workers else None
        self._workers = max(1, workers)

    def batch(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return `count` patches (N, 1, 96, 96) float32 and their joints (N, J, 3) float32, both normalized.

        Raises:
            HandPoseError: Too many of the sampled frames are unreadable.
        """
        import torch

        seeds = torch.randint(0, 2**62, (count,), generator=self.generator).tolist()
        randoms = [np.random.default_rng(seed) for seed in seeds]
        patches = np.empty((count, 1, PATCH, PATCH), np.float32)
        uvz = np.empty((count, len(self._dataset.layout), 3), np.float32)
        pending = list(range(count))
        for _ in range(_ATTEMPTS):
            samples = [self._sample(randoms[position]) for position in pending]
            failed = []
            for position, (index, *_), result in zip(pending, samples, self._crop(samples), strict=True):
                if isinstance(result, str):
                    self.unreadable[index] = result
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

    def _sample(self, random: np.random.Generator) -> tuple[int, float, Move]:
        index = int(self._usable[random.integers(len(self._usable))])
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
        return [result for results in submit(_crop_augmented, *zip(*tasks, strict=True)) for result in results]


def _crop_augmented(
    part: HandDataset, moves: list[tuple[float, Move]], uv_scale: float
) -> list[tuple[np.ndarray, np.ndarray] | str]:
    results: list[tuple[np.ndarray, np.ndarray] | str] = []
    for position, (cube, move) in enumerate(moves):
        try:
            frame = part[position]
            if frame.center is None:
                raise HandPoseError("no hand was found")
            crop = move.cut(frame.depth, frame.camera, frame.center, cube)
        except HandPoseError as error:
            results.append(str(error))
        else:
            xyz = move.points(frame.xyz, frame.center)
            results.append((crop.patch, crop.normalize(crop.camera.project(xyz), uv_scale)))
    return results
