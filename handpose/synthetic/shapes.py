"""Shapes that rays meet."""

from __future__ import annotations

import torch
from torch import Tensor


def unit(vectors: Tensor) -> Tensor:
    """Vectors (..., 3) of length one."""
    length: Tensor = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return vectors / length


def ellipsoid(rays: Tensor, centre: Tensor, radii: Tensor, basis: Tensor) -> Tensor:
    """Depth (N, S, S) at which rays (N, S, S, 3) with z = 1 enter an ellipsoid; `basis` rows are its axes."""
    scale = basis / radii[..., None]  # (N, 3, 3): camera to unit sphere
    direction = torch.einsum("nij,nyxj->nyxi", scale, rays)
    origin = (scale @ centre[..., None])[..., 0][:, None, None]
    a = direction.square().sum(-1)
    b = (direction * origin).sum(-1)
    inside = b.square() - a * (origin.square().sum(-1) - 1.0)
    depth = (b - inside.clamp(min=0.0).sqrt()) / a
    return torch.where((inside > 0) & (depth > 20.0), depth, torch.inf)


def orthonormal(axis: Tensor) -> Tensor:
    """Orthonormal rows (N, 3, 3), the first of them `axis` (N, 3)."""
    other = torch.where(axis[:, :1].abs() < 0.7, axis.new_tensor([1.0, 0.0, 0.0]), axis.new_tensor([0.0, 1.0, 0.0]))
    second = unit(torch.linalg.cross(axis, other))
    return torch.stack([axis, second, torch.linalg.cross(axis, second)], dim=1)


def box(rays: Tensor, centre: Tensor, radii: Tensor, basis: Tensor) -> Tensor:
    """Depth (N, S, S) at which rays (N, S, S, 3) with z = 1 enter a box of half sides `radii` along `basis`' rows."""
    scale = basis / radii[..., None]
    direction = torch.einsum("nij,nyxj->nyxi", scale, rays)
    direction = torch.where(direction.abs() < 1e-6, 1e-6, direction)
    origin = (scale @ centre[..., None])[..., 0][:, None, None]
    one, other = (origin - 1.0) / direction, (origin + 1.0) / direction
    enter, leave = torch.minimum(one, other).amax(-1), torch.maximum(one, other).amin(-1)
    return torch.where((enter < leave) & (enter > 20.0), enter, torch.inf)
