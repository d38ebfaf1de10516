"""Intersections of rays with geometric shapes."""

from __future__ import annotations

from typing import NamedTuple

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


class Ellipsoid(NamedTuple):
    """One ellipsoid per image."""

    center: Tensor  # (N, 3) mm
    radii: Tensor  # (N, 3) mm
    basis: Tensor  # (N, 3, 3), its axes in rows

    def depth(self, rays: Tensor) -> Tensor:
        """Return the depth (N, S, S) in mm at which rays (N, S, S, 3) with z = 1 enter the ellipsoid, or `inf`."""
        return ellipsoid(rays, *self)

    def coarse_depth(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the same as `depth` up to rounding, several times as fast.

        Args:
            x: (N, w) tangents of the columns' rays.
            y: (N, h) tangents of the rows' rays.

        Returns:
            (N, h, w) mm.
        """
        scale = self.basis / self.radii[..., None]
        form = scale.transpose(1, 2) @ scale  # (N, 3, 3), symmetric
        linear = (form @ self.center[..., None])[..., 0]
        constant = (linear * self.center).sum(-1)[:, None, None] - 1.0
        in_row = form[:, :1, 0] * x.square() + 2.0 * form[:, :1, 2] * x + form[:, 2:, 2]
        mixed = 2.0 * (form[:, :1, 1] * x + form[:, 1:2, 2])
        a = mixed[:, None] + (form[:, 1:2, 1] * y)[..., None]
        a = a.mul_(y[..., None]).add_(in_row[:, None])
        b = product_with_rays(x, y, linear)
        inside = b.square().sub_(a * constant)
        depth = (b - inside.clamp(min=0.0).sqrt_()).div_(a)
        return torch.where((inside > 0) & (depth > 20.0), depth, torch.inf)


class Box(NamedTuple):
    """One box per image."""

    center: Tensor  # (N, 3) mm
    radii: Tensor  # (N, 3) mm, half its sides
    basis: Tensor  # (N, 3, 3), its axes in rows

    def coarse_depth(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the depth at which rays enter the box; arguments and result are those of `Ellipsoid.coarse_depth`."""
        scale = self.basis / self.radii[..., None]
        origin = (scale @ self.center[..., None])[..., None]  # (N, 3, 1, 1)
        enter, leave = x.new_tensor(-torch.inf), x.new_tensor(torch.inf)
        for axis in range(3):
            direction = product_with_rays(x, y, scale[:, axis])
            inverse = torch.where(direction.abs() < 1e-6, 1e-6, direction).reciprocal_()
            one, other = (origin[:, axis] - 1.0) * inverse, (origin[:, axis] + 1.0) * inverse
            enter = torch.maximum(enter, torch.minimum(one, other))
            leave = torch.minimum(leave, torch.maximum(one, other))
        return torch.where((enter < leave) & (enter > 20.0), enter, torch.inf)


class Plane(NamedTuple):
    """One plane per image."""

    normal: Tensor  # (N, 3), away from the camera
    distance: Tensor  # (N,) mm from the camera along the normal

    def depth(self, rays: Tensor) -> Tensor:
        """Return the depth (N, S, S) in mm at which rays (N, S, S, 3) with z = 1 meet the plane, or `inf`."""
        return self._at((rays * self.normal[:, None, None]).sum(-1))

    def coarse_depth(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the same as `depth`; see `Ellipsoid.coarse_depth` for the arguments."""
        return self._at(product_with_rays(x, y, self.normal))

    def _at(self, slope: Tensor) -> Tensor:
        return torch.where(slope > 0.05, self.distance[:, None, None] / slope, torch.inf)


def product_with_rays(x: Tensor, y: Tensor, vectors: Tensor) -> Tensor:
    """Return the scalar products (N, h, w) of vectors (N, 3) with rays of tangents x (N, w) and y (N, h) and z = 1."""
    return (x * vectors[:, :1] + vectors[:, 2:])[:, None] + (y * vectors[:, 1:2])[..., None]
