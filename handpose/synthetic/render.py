"""Rasterization of triangle meshes to depth, batched in torch: exact, without holes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_WINDOWS = (2, 4, 8, 16, 32, 96, 256)  # sides, px


class _Triangles(NamedTuple):
    """Visible triangles.

    Attributes:
        low: (T, 2) first column and row of the bounding boxes, px.
        high: (T, 2) last column and row of the bounding boxes, px.
        edges: (T, 3, 3) coefficients of the three barycentric weights, linear in u, v and 1.
        plane: (T, 3) coefficients of the inverse depth, linear in u, v and 1.
        image: (T,) image that each triangle belongs to.
    """

    low: Tensor
    high: Tensor
    edges: Tensor
    plane: Tensor
    image: Tensor


def rasterize(
    vertices: Tensor,
    faces: Tensor,
    focal: Tensor,
    principal: Tensor,
    size: int,
    image: Tensor | None = None,
    images: int | None = None,
) -> Tensor:
    """Return the depth of the nearest surface at every pixel center.

    Every triangle that faces the camera tests the pixels of a small square window that covers its bounding box;
    triangles are grouped by the size of this window, so small ones are cheap.

    Args:
        vertices: (N, V, 3) camera frame, mm.
        faces: (F, 3) vertex indices, counter-clockwise from outside; the meshes must be closed, or open only where
            no ray enters.
        focal: (N,) px.
        principal: (N, 2) px.
        size: Side of the square images, px.
        image: (N,) image that each mesh is rendered into; by default, each mesh has its own image.
        images: Number of images; by default, the number of meshes.

    Returns:
        (images, size, size) depth in mm, `inf` for background.
    """
    images = len(vertices) if images is None else images
    triangles = _visible_triangles(vertices, faces, focal, principal, size, image)
    extent = (triangles.high - triangles.low).amax(1)
    has_pixels = (triangles.high >= triangles.low).all(1)
    inverse = torch.zeros(images * size * size, device=vertices.device)  # inverse depth: the largest value is nearest
    smaller = -1
    for window in _WINDOWS:
        chosen = (has_pixels & (extent > smaller - 1) & (extent <= window - 1)).nonzero(as_tuple=True)[0]
        smaller = window
        if len(chosen):
            _fill(inverse, _Triangles(*(field[chosen] for field in triangles)), window, size)
    return torch.where(inverse > 0, 1.0 / inverse, torch.inf).view(images, size, size)


def _visible_triangles(
    vertices: Tensor, faces: Tensor, focal: Tensor, principal: Tensor, size: int, image: Tensor | None
) -> _Triangles:
    """Project the triangles; the arguments are those of `rasterize`."""
    depth = vertices[..., 2].clamp(min=1.0)
    inverse = 1.0 / depth  # 1/z is linear over the image, z is not
    pixels = vertices[..., :2] * (focal[:, None] * inverse)[..., None] + principal[:, None]
    corners = torch.cat([pixels, inverse[..., None]], dim=-1)[:, faces]  # (N, F, 3, 3)
    a, b, c = corners.unbind(2)
    area = (b[..., 0] - a[..., 0]) * (c[..., 1] - a[..., 1]) - (b[..., 1] - a[..., 1]) * (c[..., 0] - a[..., 0])
    low = corners[..., :2].amin(2)
    high = corners[..., :2].amax(2)
    visible = (area < -1e-6) & (high > 0).all(-1) & (low < size - 1).all(-1)
    visible &= (vertices[..., 2][:, faces] > 1.0).all(-1)
    mesh, face = visible.nonzero(as_tuple=True)
    low, high = low[mesh, face].ceil().clamp(min=0.0), high[mesh, face].floor().clamp(max=size - 1.0)
    a, b, c, area = a[mesh, face], b[mesh, face], c[mesh, face], area[mesh, face]
    edge_a = _edge(b, c, area)
    edge_b = _edge(c, a, area)
    edges = torch.stack([edge_a, edge_b, -edge_a - edge_b], dim=1)  # (T, 3, [du, dv, 1])
    edges[:, 2, 2] += 1.0
    plane = (edges * torch.stack([a[:, 2], b[:, 2], c[:, 2]], dim=1)[..., None]).sum(1)  # (T, 3)
    return _Triangles(low, high, edges, plane, mesh if image is None else image[mesh])


def _fill(inverse: Tensor, triangles: _Triangles, window: int, size: int) -> None:
    """Merge triangles whose bounding boxes fit into the window into the inverse depth (images * size * size)."""
    low, high, edges, plane, image = triangles
    step = torch.arange(window, device=inverse.device, dtype=inverse.dtype)
    u = low[:, 0, None] + step  # (T, W)
    v = low[:, 1, None] + step
    hit = (u <= high[:, 0, None])[:, None, :] & (v <= high[:, 1, None])[:, :, None]  # (T, W, W)
    for k in range(3):
        row = edges[:, k, 0, None] * u
        column = edges[:, k, 1, None] * v + edges[:, k, 2, None]
        hit &= (row[:, None, :] + column[:, :, None]) >= -1e-5
    t, j, i = hit.nonzero(as_tuple=True)
    value = plane[t, 0] * u[t, i] + plane[t, 1] * v[t, j] + plane[t, 2]
    pixel = (image[t] * size + v[t, j].long()) * size + u[t, i].long()
    inverse.scatter_reduce_(0, pixel, value, "amax")


def _edge(a: Tensor, b: Tensor, area: Tensor) -> Tensor:
    """Return the coefficients (T, 3) of the barycentric weight of the corner opposite to edge a-b."""
    du = (a[:, 1] - b[:, 1]) / area
    dv = (b[:, 0] - a[:, 0]) / area
    return torch.stack([du, dv, -(du * a[:, 0] + dv * a[:, 1])], dim=1)
