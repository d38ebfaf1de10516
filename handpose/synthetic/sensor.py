"""What a depth camera makes of a clean depth image: noise, ragged edges, flying pixels, holes, steps."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def sense(
    depth: Tensor, pixel_mm: Tensor, generator: torch.Generator, sensors: torch.Generator | None = None
) -> Tensor:
    """The depth images of random sensors, one each: structured light, stereo and time of flight mixed.

    Args:
        depth: clean depth (N, S, S), mm, `inf` where there is nothing.
        pixel_mm: what one pixel of `depth` covers at the hand, (N,) mm.
        generator: source of all randomness, on `depth`'s device.
        sensors: source of what the sensors are like, `generator` by default: from the same state the same sensors
            come, with other noise.

    Returns:
        (N, S, S) mm, `inf` also where the sensor has no reading.
    """
    count, size, _ = depth.shape
    device = depth.device

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, 1, 1, generator=sensors or generator, device=device)

    def sometimes(share: float, value: Tensor) -> Tensor:
        return torch.where(uniform(0.0, 1.0) < share, value, torch.zeros_like(value))

    def noise(blur: int = 1) -> Tensor:
        field = torch.randn(count, 1, size, size, generator=generator, device=device)
        if blur > 1:
            field = F.avg_pool2d(field, blur, 1, blur // 2, count_include_pad=False) * blur
        return field[:, 0]

    def chance() -> Tensor:
        return torch.rand(count, size, size, generator=generator, device=device)

    # A far or coarse sensor sees fewer pixels than the crop has; matching windows make edges ragged.
    sensor_mm = torch.maximum(uniform(0.5, 3.2), pixel_mm[:, None, None])
    ragged = sometimes(0.7, uniform(0.1, 0.6))
    grid = torch.arange(size, device=device, dtype=depth.dtype)
    ratio = sensor_mm / pixel_mm[:, None, None]
    shift = uniform(0.0, 1.0) * ratio
    column = ((grid + shift) / ratio).floor().add(0.5) * ratio - shift + ragged * noise(3)
    row = ((grid[:, None] + shift) / ratio).floor().add(0.5) * ratio - shift + ragged * noise(3)
    column, row = (index.round().long().clamp(0, size - 1) for index in (column, row))
    depth = depth.flatten(1).gather(1, (row * size + column).flatten(1)).view_as(depth)

    # Slope of the surface and its silhouettes, from the pixel's neighbours.
    filled = depth.nan_to_num(posinf=5000.0)
    across = F.pad(filled[:, :, 2:] - filled[:, :, :-2], (1, 1))
    down = F.pad(filled[:, 2:] - filled[:, :-2], (0, 0, 1, 1))
    slope = torch.maximum(across.abs(), down.abs()) / (2.0 * pixel_mm[:, None, None])
    edge = slope > 5.0

    # Flying pixels: at silhouettes a time-of-flight pixel mixes the two surfaces.
    flying = sometimes(0.35, uniform(0.05, 0.5))
    neighbour = torch.where(chance() < 0.5, filled.roll(1, 2), filled.roll(-1, 1))
    neighbour = torch.minimum(neighbour, filled + 250.0)
    mixed = torch.lerp(filled, neighbour, chance())
    depth = torch.where(edge & (chance() < flying) & depth.isfinite(), mixed, depth)

    # Noise grows with distance squared and with slope; part of it is shared by neighbouring pixels.
    metres = filled.clamp(max=1500.0) / 1000.0
    sigma = uniform(0.2, 1.6) + uniform(0.0, 5.0) * metres.square()
    sigma = sigma * (1.0 + 0.6 * slope.clamp(max=4.0))
    together = uniform(0.0, 1.0)
    depth = depth + sigma * (together * noise(3) + (1.0 - together) * noise())
    depth = depth + sometimes(0.3, uniform(0.5, 4.0)) * noise(9)
    step = torch.exp(uniform(-2.5, 1.4))
    depth = (depth / step).round() * step

    # Holes: at silhouettes, on steep skin, single pixels, whole patches.
    lost = edge & (chance() < sometimes(0.6, uniform(0.0, 0.6)))
    steep = uniform(1.5, 4.0)
    lost |= (slope > steep) & (chance() < sometimes(0.4, uniform(0.0, 0.7)))
    lost |= chance() < sometimes(0.4, uniform(0.0, 0.04))
    patches = F.interpolate(
        torch.randn(count, 1, 9, 9, generator=generator, device=device), (size, size), mode="bilinear"
    )[:, 0]
    lost |= patches > torch.where(uniform(0.0, 1.0) < 0.15, uniform(1.3, 2.4), torch.full_like(step, torch.inf))
    # The projector's shadow: what lies behind an edge, on one side of it, has no reading.
    shadow = (uniform(0.0, 1.0) < 0.4) & (filled > filled.roll(2, 2) + 25.0)
    return torch.where(lost | shadow, torch.inf, depth)
