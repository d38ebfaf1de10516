"""Intersections of rays with geometric shapes."""

from __future__ import annotations

import torch
from torch import Tensor


def unit(vectors: Tensor) -> Tensor:
    """Return the vectors (..., 3) scaled to length one."""
    length: Tensor = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return vectors / length


def ellipsoid(rays: Tensor, center: Tensor, radii: Tensor, basis: Tensor) -> Tensor:
    """Return the depth (N, S, S) at which rays (N, S, S, 3) with z = 1 enter an ellipsoid with axes `basis`."""
    scale = basis / radii[..., None]  # (N, 3, 3): camera to unit sphere
    direction = torch.einsum("nij,nyxj->nyxi", scale, rays)
    origin = (scale @ center[..., None])[..., 0][:, None, None]
    a = direction.square().sum(-1)
    b = (direction * origin).sum(-1)
    inside = b.square() - a * (origin.square().sum(-1) - 1.0)
    depth = (b - inside.clamp(min=0.0).sqrt()) / a
    return torch.where((inside > 0) & (depth > 20.0), depth, torch.inf)


def orthonormal(axis: Tensor) -> Tensor:
    """Return orthonormal rows (N, 3, 3), the first of which is `axis` (N, 3)."""
    other = torch.where(axis[:, :1].abs() < 0.7, axis.new_tensor([1.0, 0.0, 0.0]), axis.new_tensor([0.0, 1.0, 0.0]))
    second = unit(torch.linalg.cross(axis, other))
    return torch.stack([axis, second, torch.linalg.cross(axis, second)], dim=1)


def box(rays: Tensor, center: Tensor, radii: Tensor, basis: Tensor) -> Tensor:
    """Return the depth (N, S, S) at which rays (N, S, S, 3) with z = 1 enter a box; `radii` are half its sides."""
    scale = basis / radii[..., None]
    direction = torch.einsum("nij,nyxj->nyxi", scale, rays)
    direction = torch.where(direction.abs() < 1e-6, 1e-6, direction)
    origin = (scale @ center[..., None])[..., 0][:, None, None]
    first, second = (origin - 1.0) / direction, (origin + 1.0) / direction
    enter, leave = torch.minimum(first, second).amax(-1), torch.maximum(first, second).amin(-1)
    return torch.where((enter < leave) & (enter > 20.0), enter, torch.inf)
