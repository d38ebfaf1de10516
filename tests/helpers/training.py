"""Training runs that need no images."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file

from handpose.network.config import JGRP2OConfig
from handpose.training.config import TrainingConfig
from handpose.training.pose_task import CropSource, PoseTask

MODEL = JGRP2OConfig("nyu", features=16)
SMALL = JGRP2OConfig("nyu", stacks=1, features=8)


class Balls:
    """Crops with one bright square; all joints lie at its center."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def batch(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        center = torch.randint(24, 72, (count, 2), generator=self.generator)
        z = torch.rand(count, generator=self.generator) - 0.5
        patches = torch.ones(count, 1, 96, 96)
        for i, (u, v) in enumerate(center.tolist()):
            patches[i, 0, v - 12 : v + 13, u - 12 : u + 13] = z[i]
        uvz = torch.cat([center / 95.0, z[:, None]], 1)
        return patches, uvz[:, None].expand(-1, 14, -1).contiguous()


class Halves(Balls):
    """The first or second half of one process's batches, or one and the same half twice."""

    def __init__(self, rank: int, processes: int, same: bool) -> None:
        super().__init__(0)
        self.rank, self.processes, self.same = rank, processes, same
        self.step = 0

    def batch(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        if count == 64:  # for the BatchNorm statistics of the averaged weights, which one process computes
            return super().batch(count)
        source = Balls(self.step)
        self.step += 1
        sampled = source.batch(8 if self.same else count * self.processes)
        half = slice(self.rank * count, (self.rank + 1) * count)
        patches, uvz = ((torch.cat([part, part]) if self.same else part)[half] for part in sampled)
        return patches, uvz


def task(config: TrainingConfig, source: CropSource | None = None, model: JGRP2OConfig = MODEL) -> PoseTask:
    """A task on crops of balls."""
    return PoseTask(model, config, Balls(1) if source is None else source, Balls(2).batch(32))


def ignore(row: dict[str, float]) -> None:
    """Ignores the metrics of a validation."""


def tensors(run: Path) -> dict[str, torch.Tensor]:
    """All tensors of a run's checkpoint: weights, averaged weights and the state of the optimizers."""
    return load_file(run / "checkpoint.safetensors")


def assert_same(one: Path, other: Path) -> None:
    """Asserts that the checkpoints of two runs have bit for bit the same tensors."""
    ours, theirs = tensors(one), tensors(other)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
