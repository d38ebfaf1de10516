"""Training crops of a data set, moved as training moves them."""

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
    """Augmented training crops of a data set, drawn with replacement: a source for `training.Trainer`.

    What a batch holds follows from the state of `generator` alone, whatever the number of workers. Frames whose
    image turns out to be unreadable are replaced by others and kept in `unreadable`.

    Attributes:
        generator: what is drawn follows from it.
        unreadable: reasons by frame number, of the frames met so far.
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
        """Gets ready to draw.

        Args:
            dataset: where from.
            augmentation: the range of moves; without, crops differ from frames by the size of the cube only.
            uv_scale: patch pixels that a normalised u or v of 1 stands for.
            seed: of the generator.
            workers: processes that share the work on each batch; 0 works in this one.
            device: where batches go.
        """
        import torch

        self.generator = torch.Generator().manual_seed(seed)
        self.unreadable: dict[int, str] = {}
        self._dataset, self._augmentation, self._uv_scale = dataset, augmentation, uv_scale
        self._usable, self._device = dataset.usable, device
        if len(self._usable) == 0:
            raise HandPoseError(
                f"{dataset.root}: none of the {len(dataset)} frames of {dataset.name} {dataset.split} can be used; "
                f"the first: {next(iter(dataset.damaged.values()), 'there is none')}"
            )
        self._pool = reader_pool(workers) if workers else None
        self._workers = max(1, workers)

    def batch(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """`count` patches (N, 1, 96, 96) float32 and their joints (N, J, 3) float32, both normalised.

        Raises:
            HandPoseError: too many of the drawn frames are unreadable.
        """
        import torch

        seeds = torch.randint(0, 2**62, (count,), generator=self.generator).tolist()
        randoms = [np.random.default_rng(seed) for seed in seeds]
        patches = np.empty((count, 1, PATCH, PATCH), np.float32)
        uvz = np.empty((count, len(self._dataset.layout), 3), np.float32)
        places = list(range(count))
        for _ in range(_ATTEMPTS):
            draws = [self._draw(randoms[place]) for place in places]
            failed = []
            for place, (index, *_), result in zip(places, draws, self._cut(draws), strict=True):
                if isinstance(result, str):
                    self.unreadable[index] = result
                    failed.append(place)
                else:
                    patches[place, 0], uvz[place] = result
            places = failed
            if not places:
                return torch.from_numpy(patches).to(self._device), torch.from_numpy(uvz).to(self._device)
        index, reason = next(iter(self.unreadable.items()))
        raise HandPoseError(
            f"{len(self.unreadable)} frames of {self._dataset.name} {self._dataset.split} are unreadable, such as "
            f"{self._dataset.files[index]}: {reason}"
        )

    def close(self) -> None:
        """Ends the workers."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _draw(self, random: np.random.Generator) -> tuple[int, float, Move]:
        index = int(self._usable[random.integers(len(self._usable))])
        cube = float(random.uniform(*self._dataset.train_cubes))
        return index, cube, Move() if self._augmentation is None else self._augmentation.draw(random)

    def _cut(self, draws: list[tuple[int, float, Move]]) -> list[tuple[np.ndarray, np.ndarray] | str]:
        size = -(-len(draws) // self._workers)
        tasks = []
        for start in range(0, len(draws), size):
            part = draws[start : start + size]
            moves = [(cube, move) for _, cube, move in part]
            tasks.append((self._dataset.subset([index for index, *_ in part]), moves, self._uv_scale))
        submit: Callable[..., Any] = map if self._pool is None else self._pool.map
        return [result for results in submit(_cut_moved, *zip(*tasks, strict=True)) for result in results]


def _cut_moved(
    part: HandDataset, moves: list[tuple[float, Move]], uv_scale: float
) -> list[tuple[np.ndarray, np.ndarray] | str]:
    results: list[tuple[np.ndarray, np.ndarray] | str] = []
    for place, (cube, move) in enumerate(moves):
        try:
            frame = part[place]
            if frame.center is None:
                raise HandPoseError("no hand was found")
            crop = move.cut(frame.depth, frame.camera, frame.center, cube)
        except HandPoseError as error:
            results.append(str(error))
        else:
            xyz = move.points(frame.xyz, frame.center)
            results.append((crop.patch, crop.normalize(crop.camera.project(xyz), uv_scale)))
    return results
