"""The sensor of coarse depth images: fewer pixels, ragged silhouettes, and missing pixels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from handpose.synthetic.sampler import Sampler


def measure_coarsely(depth: Tensor, pixel_mm: Tensor, sampler: Sampler) -> Tensor:
    """Return the depth (N, h, w) in mm that sensors measure at this resolution, `inf` for missing pixels.

    Noise within a surface matters little here; coarse sensors, ragged silhouettes, pixels between two surfaces and
    missing ones matter more.

    Args:
        depth: (N, h, w) mm, `inf` where there is no surface.
        pixel_mm: (N,) size of a pixel at the distance of the hand, mm.
        sampler: Source of all random samples.
    """
    sample = _Samples(depth, sampler)
    depth = _resample(depth, sample)
    filled = depth.nan_to_num(posinf=5000.0)
    neighbor = torch.where(sample.uniform() < 0.5, filled.roll(1, 2), filled.roll(-1, 1))
    is_edge = (neighbor - filled).abs() > 6.0 * pixel_mm[:, None, None].clamp(min=3.0)
    depth = _mix_flying_pixels(depth, filled, neighbor, is_edge, sample)
    depth = _add_noise(depth, filled, sample)
    return torch.where(_holes(filled, is_edge, sample), torch.inf, depth)


class _Samples:
    """Random properties of sensors (N, 1, 1), and random images (N, h, w)."""

    def __init__(self, depth: Tensor, sampler: Sampler) -> None:
        self.shape, self._sampler = depth.shape, sampler
        self.rows, self.columns = (
            torch.arange(length, device=depth.device, dtype=depth.dtype) for length in depth.shape[1:]
        )

    def per_sensor(self, low: float, high: float) -> Tensor:
        """Return a uniformly distributed property (N, 1, 1) of each sensor."""
        return self._sampler.uniform(self.shape[0], low, high, 1, 1)

    def has(self, probability: float) -> Tensor:
        """Return which sensors (N, 1, 1) have a property."""
        return self._sampler.bernoulli(self.shape[0], probability)[:, None, None]

    def optional(self, probability: float, value: Tensor) -> Tensor:
        """Return the property with this probability, and 0 otherwise."""
        return value * self.has(probability)

    def normal(self) -> Tensor:
        """Return normally distributed noise (N, h, w)."""
        return self._sampler.normal(*self.shape)

    def uniform(self) -> Tensor:
        """Return uniformly distributed values (N, h, w) in 0..1."""
        return self._sampler.uniform(self.shape[0], 0.0, 1.0, *self.shape[1:])

    def smooth(self) -> Tensor:
        """Return noise (N, h, w) that varies smoothly."""
        noise = self._sampler.normal(self.shape[0], 1, 9, 12)
        return F.interpolate(noise, tuple(self.shape[1:]), mode="bilinear")[:, 0]


def _resample(depth: Tensor, sample: _Samples) -> Tensor:
    """Sample the depth at the pixels of coarser sensors, whose matching windows shift silhouettes by a pixel."""
    _, height, width = depth.shape
    ratio = 1.0 + sample.optional(0.3, sample.per_sensor(0.0, 1.2))
    ragged = sample.optional(0.5, sample.per_sensor(0.1, 0.6))
    row, column = (
        (((index / ratio).floor() + 0.5) * ratio - 0.5 + ragged * sample.normal()).round().long().clamp(0, length - 1)
        for index, length in ((sample.rows[:, None], height), (sample.columns[None], width))
    )
    return depth.flatten(1).gather(1, (row * width + column).flatten(1)).view_as(depth)


def _mix_flying_pixels(depth: Tensor, filled: Tensor, neighbor: Tensor, is_edge: Tensor, sample: _Samples) -> Tensor:
    """Mix the depths of both surfaces at silhouettes, as a time-of-flight pixel does."""
    probability = sample.optional(0.35, sample.per_sensor(0.05, 0.4))
    mixed = torch.lerp(filled, torch.minimum(neighbor, filled + 250.0), sample.uniform())
    return torch.where(is_edge & (sample.uniform() < probability) & depth.isfinite(), mixed, depth)


def _add_noise(depth: Tensor, filled: Tensor, sample: _Samples) -> Tensor:
    """Add noise that grows with squared distance, and quantize."""
    meters = filled.clamp(max=2000.0) / 1000.0
    sigma = sample.per_sensor(0.2, 2.0) + sample.per_sensor(0.0, 6.0) * meters.square()
    depth = depth + sigma * sample.normal()
    step = torch.exp(sample.per_sensor(-2.5, 1.4)) * meters.square().clamp(min=0.3)
    return (depth / step).round() * step


def _holes(filled: Tensor, is_edge: Tensor, sample: _Samples) -> Tensor:
    """Return which pixels are missing: at silhouettes, single pixels, patches, in shadows, and on a regular grid."""
    missing = is_edge & (sample.uniform() < sample.optional(0.5, sample.per_sensor(0.0, 0.6)))
    chance = sample.uniform()
    few = sample.optional(0.4, sample.per_sensor(0.0, 0.05))
    missing |= chance < few + sample.optional(0.12, sample.per_sensor(0.0, 0.6))
    patches = sample.smooth()
    missing |= patches > torch.where(sample.has(0.15), sample.per_sensor(1.3, 2.4), 1e9)
    # The shadow of the projector hides what lies behind an edge, on one side of it.
    missing |= sample.has(0.3) & (filled > filled.roll(2, 2) + 25.0)
    # In depth that was registered to a finer grid, every second row or column is missing.
    for index in (sample.rows[:, None], sample.columns[None]):
        missing |= sample.has(0.025) & (index % 2.0 != 0)
    return missing
