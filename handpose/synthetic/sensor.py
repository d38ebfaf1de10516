"""A depth sensor model: noise, ragged edges, flying pixels, quantization and holes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def simulate_sensor(
    depth: Tensor,
    pixel_mm: Tensor,
    generator: torch.Generator,
    sensors: torch.Generator | None = None,
    coarsest: float = 3.2,
) -> Tensor:
    """Return the depth images of random sensors, one per image: structured light, stereo and time of flight mixed.

    Args:
        depth: Rendered depth (N, S, S), mm, `inf` for background.
        pixel_mm: Size (N,) of a pixel of `depth` at the hand's distance, mm.
        generator: Source of all random samples, on the device of `depth`.
        sensors: Source of the sensors' properties, `generator` by default. The same state yields the same sensors,
            with other noise.
        coarsest: Size of a pixel of the coarsest sensor at the hand's distance, mm.

    Returns:
        (N, S, S) mm, `inf` for missing pixels.
    """
    sample = _Samples(depth, generator, sensors or generator)
    depth = _resample(depth, pixel_mm, coarsest, sample)
    filled = depth.nan_to_num(posinf=5000.0)
    across = F.pad(filled[:, :, 2:] - filled[:, :, :-2], (1, 1))
    down = F.pad(filled[:, 2:] - filled[:, :-2], (0, 0, 1, 1))
    slope = torch.maximum(across.abs(), down.abs()) / (2.0 * pixel_mm[:, None, None])
    is_edge = slope > 5.0
    depth = _mix_flying_pixels(depth, filled, is_edge, sample)
    depth = _add_noise(depth, filled, slope, sample)
    return torch.where(_holes(filled, slope, is_edge, sample), torch.inf, depth)


class _Samples:
    """Random properties of sensors (N, 1, 1) and random images (N, S, S)."""

    def __init__(self, depth: Tensor, generator: torch.Generator, sensors: torch.Generator) -> None:
        self.count, self.size, _ = depth.shape
        self.device = depth.device
        self._generator, self._sensors = generator, sensors

    def per_sensor(self, low: float, high: float) -> Tensor:
        """Return a uniformly distributed property (N, 1, 1) of each sensor."""
        return low + (high - low) * torch.rand(self.count, 1, 1, generator=self._sensors, device=self.device)

    def optional(self, probability: float, value: Tensor) -> Tensor:
        """Return the property with this probability, and 0 otherwise."""
        return torch.where(self.per_sensor(0.0, 1.0) < probability, value, torch.zeros_like(value))

    def normal(self, blur: int = 1) -> Tensor:
        """Return normally distributed noise (N, S, S), averaged over windows of `blur` pixels."""
        noise = torch.randn(self.count, 1, self.size, self.size, generator=self._generator, device=self.device)
        if blur > 1:
            noise = F.avg_pool2d(noise, blur, 1, blur // 2, count_include_pad=False) * blur
        return noise[:, 0]

    def uniform(self) -> Tensor:
        """Return uniformly distributed values (N, S, S) in 0..1."""
        return torch.rand(self.count, self.size, self.size, generator=self._generator, device=self.device)

    def smooth(self, cells: int) -> Tensor:
        """Return noise (N, S, S) that varies smoothly over a grid of `cells` x `cells` cells."""
        noise = torch.randn(self.count, 1, cells, cells, generator=self._generator, device=self.device)
        return F.interpolate(noise, (self.size, self.size), mode="bilinear")[:, 0]


def _resample(depth: Tensor, pixel_mm: Tensor, coarsest: float, sample: _Samples) -> Tensor:
    """Sample the depth at the pixels of a coarser sensor, with edges that its matching windows make ragged."""
    coarse = sample.per_sensor(0.0, 1.0)
    # Most sensors have pixels of up to 3.2 mm; coarser ones are rare.
    sensor_mm = 0.5 + torch.maximum(2.7 * coarse, (coarsest - 0.5) * coarse**3)
    sensor_mm = torch.maximum(sensor_mm, pixel_mm[:, None, None])
    ragged = sample.optional(0.7, sample.per_sensor(0.1, 0.6))
    grid = torch.arange(sample.size, device=depth.device, dtype=depth.dtype)
    ratio = sensor_mm / pixel_mm[:, None, None]
    shift = sample.per_sensor(0.0, 1.0) * ratio
    column = ((grid + shift) / ratio).floor().add(0.5) * ratio - shift + ragged * sample.normal(3)
    row = ((grid[:, None] + shift) / ratio).floor().add(0.5) * ratio - shift + ragged * sample.normal(3)
    column, row = (index.round().long().clamp(0, sample.size - 1) for index in (column, row))
    return depth.flatten(1).gather(1, (row * sample.size + column).flatten(1)).view_as(depth)


def _mix_flying_pixels(depth: Tensor, filled: Tensor, is_edge: Tensor, sample: _Samples) -> Tensor:
    """Mix the depths of both surfaces at silhouettes, as a time-of-flight pixel does."""
    probability = sample.optional(0.35, sample.per_sensor(0.05, 0.5))
    neighbor = torch.where(sample.uniform() < 0.5, filled.roll(1, 2), filled.roll(-1, 1))
    neighbor = torch.minimum(neighbor, filled + 250.0)
    mixed = torch.lerp(filled, neighbor, sample.uniform())
    return torch.where(is_edge & (sample.uniform() < probability) & depth.isfinite(), mixed, depth)


def _add_noise(depth: Tensor, filled: Tensor, slope: Tensor, sample: _Samples) -> Tensor:
    """Add noise that grows with squared distance and slope, partly correlated between neighbors, and quantize."""
    meters = filled.clamp(max=1500.0) / 1000.0
    sigma = sample.per_sensor(0.2, 1.6) + sample.per_sensor(0.0, 5.0) * meters.square()
    sigma = sigma * (1.0 + 0.6 * slope.clamp(max=4.0))
    correlated = sample.per_sensor(0.0, 1.0)
    depth = depth + sigma * (correlated * sample.normal(3) + (1.0 - correlated) * sample.normal())
    depth = depth + sample.optional(0.3, sample.per_sensor(0.5, 4.0)) * sample.normal(9)
    step = torch.exp(sample.per_sensor(-2.5, 1.4))
    return (depth / step).round() * step


def _holes(filled: Tensor, slope: Tensor, is_edge: Tensor, sample: _Samples) -> Tensor:
    """Return which pixels are missing: at silhouettes, on steep surfaces, single pixels, patches, and in shadows."""
    missing = is_edge & (sample.uniform() < sample.optional(0.6, sample.per_sensor(0.0, 0.6)))
    steep = sample.per_sensor(1.5, 4.0)
    missing |= (slope > steep) & (sample.uniform() < sample.optional(0.4, sample.per_sensor(0.0, 0.7)))
    missing |= sample.uniform() < sample.optional(0.4, sample.per_sensor(0.0, 0.04))
    patches = sample.smooth(9)
    has_patches = sample.per_sensor(0.0, 1.0) < 0.15
    threshold = sample.per_sensor(1.3, 2.4)
    missing |= patches > torch.where(has_patches, threshold, torch.full_like(threshold, torch.inf))
    # The shadow of the projector hides what lies behind an edge, on one side of it.
    return missing | (sample.per_sensor(0.0, 1.0) < 0.4) & (filled > filled.roll(2, 2) + 25.0)
