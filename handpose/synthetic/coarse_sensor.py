"""The sensor of coarse depth images: fewer pixels, ragged silhouettes, and missing pixels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from handpose.synthetic.sampler import Sampler


def measure_coarsely(depth: Tensor, pixel_mm: Tensor, sample: Sampler) -> Tensor:
    """Return the depth (N, h, w) in mm that sensors measure at this resolution, `inf` for missing pixels.

    Noise within a surface matters little here; coarse sensors, ragged silhouettes, pixels between two surfaces and
    missing ones matter more.

    Args:
        depth: (N, h, w) mm, `inf` where there is no surface.
        pixel_mm: (N,) size of a pixel at the distance of the hand, mm.
        sample: Source of all random samples.
    """
    count, height, width = depth.shape

    def uniform(low: float, high: float) -> Tensor:
        return sample.uniform(count, low, high, 1, 1)

    def sometimes(share: float, value: Tensor) -> Tensor:
        return value * sample.bernoulli(count, share)[:, None, None]

    def chance() -> Tensor:
        return sample.uniform(count, 0.0, 1.0, height, width)

    # Sensors with fewer pixels than the image, whose matching windows shift silhouettes by a pixel.
    ratio = 1.0 + sometimes(0.3, uniform(0.0, 1.2))
    rows, columns = (torch.arange(length, device=depth.device, dtype=depth.dtype) for length in (height, width))
    ragged = sometimes(0.5, uniform(0.1, 0.6))
    row, column = (
        (((index / ratio).floor() + 0.5) * ratio - 0.5 + ragged * sample.normal(count, height, width))
        .round()
        .long()
        .clamp(0, length - 1)
        for index, length in ((rows[:, None], height), (columns[None], width))
    )
    depth = depth.flatten(1).gather(1, (row * width + column).flatten(1)).view_as(depth)

    filled = depth.nan_to_num(posinf=5000.0)
    neighbor = torch.where(chance() < 0.5, filled.roll(1, 2), filled.roll(-1, 1))
    edge = (neighbor - filled).abs() > 6.0 * pixel_mm[:, None, None].clamp(min=3.0)
    flying = sometimes(0.35, uniform(0.05, 0.4))
    mixed = torch.lerp(filled, torch.minimum(neighbor, filled + 250.0), chance())
    depth = torch.where(edge & (chance() < flying) & depth.isfinite(), mixed, depth)

    meters = filled.clamp(max=2000.0) / 1000.0
    depth = depth + (uniform(0.2, 2.0) + uniform(0.0, 6.0) * meters.square()) * sample.normal(count, height, width)
    step = torch.exp(uniform(-2.5, 1.4)) * meters.square().clamp(min=0.3)
    depth = (depth / step).round() * step

    lost = edge & (chance() < sometimes(0.5, uniform(0.0, 0.6)))
    lost |= chance() < sometimes(0.4, uniform(0.0, 0.05)) + sometimes(0.12, uniform(0.0, 0.6))
    patches = F.interpolate(sample.normal(count, 1, 9, 12), (height, width), mode="bilinear")[:, 0]
    lost |= patches > torch.where(sample.bernoulli(count, 0.15)[:, None, None], uniform(1.3, 2.4), 1e9)
    # The projector's shadow: pixels behind an edge, on one side of it, are missing.
    lost |= sample.bernoulli(count, 0.3)[:, None, None] & (filled > filled.roll(2, 2) + 25.0)
    # Depth that was registered to a finer grid, where every second row or column is missing.
    for index in (rows[:, None], columns[None]):
        lost |= sample.bernoulli(count, 0.025)[:, None, None] & (index % 2.0 != 0)
    return torch.where(lost, torch.inf, depth)
