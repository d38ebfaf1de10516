"""Random samples from one generator."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from handpose.synthetic.shapes import unit


class Sampler:
    """Random samples on one device, all from one generator.

    Attributes:
        generator: The generator; it determines all samples.
        device: Device of the generator and the samples.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self.generator = torch.Generator(device).manual_seed(seed)
        self.device = device

    def uniform(self, count: int, low: float, high: float, *shape: int) -> Tensor:
        """Return uniformly distributed values (count, *shape) between `low` and `high`."""
        return low + (high - low) * torch.rand(count, *shape, generator=self.generator, device=self.device)

    def normal(self, *shape: int) -> Tensor:
        """Return values of a standard normal distribution."""
        return torch.randn(*shape, generator=self.generator, device=self.device)

    def bernoulli(self, count: int, probability: float) -> Tensor:
        """Return (count,) booleans that are true with this probability."""
        return self.uniform(count, 0.0, 1.0) < probability

    def index(self, count: int, size: int) -> Tensor:
        """Return (count,) uniformly distributed indices below `size`."""
        return torch.randint(size, (count,), generator=self.generator, device=self.device)

    def rotations(self, count: int, upright: float) -> Tensor:
        """Return rotations (count, 3, 3) from the hand frame to the camera frame.

        Args:
            count: Number of rotations.
            upright: Fraction of them that turn the palm or the back of the hand toward the camera.
        """
        first, second = (_rotation(unit(quaternion)) for quaternion in self.normal(2, count, 4))
        # A hand hidden by its own arm, which comes from the direction of the camera, is possible but rare.
        arbitrary = torch.where((first[:, 2, 1] > 0.6)[:, None, None], second, first)
        # The palm faces -x of the hand frame: turn it to or away from the camera, roll it, and tilt it.
        facing = torch.where(self.bernoulli(count, 0.5), 1.0, -1.0)
        zero, one = torch.zeros_like(facing), torch.ones_like(facing)
        front = torch.stack(
            [torch.stack(row, -1) for row in ([zero, zero, facing], [zero, -one, zero], [facing, zero, zero])], -2
        )
        roll = 0.7 * self.normal(count) + (self.bernoulli(count, 0.3)) * self.uniform(count, -math.pi, math.pi)
        tilt = 0.45 * self.normal(count, 2)
        turn = _about(roll, 2) @ _about(tilt[:, 0], 0) @ _about(tilt[:, 1], 1)
        is_upright = self.bernoulli(count, upright)
        return torch.where(is_upright[:, None, None], turn @ front, arbitrary)


def _rotation(quaternion: Tensor) -> Tensor:
    w, x, y, z = quaternion.unbind(-1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def _about(angle: Tensor, axis: int) -> Tensor:
    half = torch.zeros(len(angle), 4, device=angle.device)
    half[:, 0], half[:, axis + 1] = torch.cos(angle / 2), torch.sin(angle / 2)
    return _rotation(half)
