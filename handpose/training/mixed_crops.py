"""Training crops of a data set mixed with synthetic ones."""

from __future__ import annotations

import torch
from torch import Tensor

from handpose.synthetic.hands import SyntheticHands
from handpose.synthetic.sensor import simulate_sensor
from handpose.training.real_crops import DatasetCrops

_NOISY = 0.5  # share of the real crops with simulated noise
_TYPICAL_Z = 500.0  # mm: the noise of the simulated sensor depends on the distance


class MixedCrops:
    """Crops of a data set mixed with synthetic crops, so that a network does not forget its initial training.

    Attributes:
        generator: Source of all random samples, except for the order of the data set's frames.
    """

    def __init__(self, real: DatasetCrops, synthetic: SyntheticHands, share: float, *, noise: bool = False) -> None:
        """Mix two sources.

        Args:
            real: Crops of a data set.
            synthetic: Synthetic crops, on the CPU.
            share: Share of the synthetic crops in every batch.
            noise: Whether half of the real crops get the noise of a simulated sensor on top of their own.
        """
        self.generator = torch.Generator()
        self._real, self._synthetic, self._share, self._noise = real, synthetic, share, noise

    def seek(self, crop: int) -> None:
        """Continue with the crop of this number; see `DatasetCrops.seek`."""
        self._real.seek(round(crop * (1.0 - self._share)))

    def batch(self, count: int) -> tuple[Tensor, Tensor]:
        """Return `count` patches (N, 1, 96, 96) and their joints (N, J, 3), both normalized; the real ones first."""
        for source in (self._real, self._synthetic):
            source.generator.manual_seed(int(torch.randint(2**62, (), generator=self.generator)))
        patches, uvz = self._real.batch(count - round(count * self._share))
        if self._noise:
            patches = self._with_noise(patches)
        others = self._synthetic.batch(round(count * self._share))
        return torch.cat([patches, others[0].to(patches)]), torch.cat([uvz, others[1].to(uvz)])

    def _with_noise(self, patches: Tensor) -> Tensor:
        half = self._synthetic.cube / 2
        depth = torch.where(patches[:, 0] < 1.0, _TYPICAL_Z + half * patches[:, 0], torch.inf)
        pixel = torch.full((len(patches),), self._synthetic.cube / patches.shape[-1])
        noisy = ((simulate_sensor(depth, pixel, self.generator) - _TYPICAL_Z) / half).clamp(-1.0, 1.0)[:, None]
        chosen = torch.rand(len(patches), 1, 1, 1, generator=self.generator) < _NOISY
        return torch.where(chosen, noisy, patches)
