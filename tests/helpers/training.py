"""A training that needs no images."""

from __future__ import annotations

import torch

from handpose.network.config import JGRP2OConfig
from handpose.network.distances import joint_errors

MODEL = JGRP2OConfig("nyu", features=16)


class Balls:
    """Crops with one bright square; all joints sit at its middle."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def batch(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        place = torch.randint(24, 72, (count, 2), generator=self.generator)
        z = torch.rand(count, generator=self.generator) - 0.5
        patches = torch.ones(count, 1, 96, 96)
        for i, (u, v) in enumerate(place.tolist()):
            patches[i, 0, v - 12 : v + 13, u - 12 : u + 13] = z[i]
        uvz = torch.cat([place / 95.0, z[:, None]], 1)
        return patches, uvz[:, None].expand(-1, 14, -1).contiguous()


def validate(model: torch.nn.Module) -> dict[str, float]:
    patches, uvz = Balls(2).batch(64)
    with torch.no_grad():
        return {"mm": float(joint_errors(model(patches)[0], uvz, MODEL).mean())}


class Halves(Balls):
    """The first or the second half of what a whole batch would be, or twice the same half."""

    def __init__(self, rank: int, processes: int, same: bool) -> None:
        super().__init__(0)
        self.rank, self.processes, self.same = rank, processes, same

    def batch(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        if count == 64:  # for the averaged weights' statistics, which one process draws
            return super().batch(count)
        drawn = super().batch(8 if self.same else count * self.processes)
        half = slice(self.rank * count, (self.rank + 1) * count)
        whole = (torch.cat([tensor, tensor]) if self.same else tensor for tensor in drawn)
        patches, uvz = (tensor[half] for tensor in whole)
        return patches, uvz
