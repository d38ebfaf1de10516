"""Triangle rasterisation of depth, batched in torch, on CPU or GPU: exact, no holes, no see-through."""

from __future__ import annotations

import torch
from torch import Tensor

_WINDOWS = (2, 4, 8, 16, 32, 96, 256)


def rasterise(
    vertices: Tensor,
    faces: Tensor,
    focal: Tensor,
    principal: Tensor,
    size: int,
    image: Tensor | None = None,
    images: int | None = None,
) -> Tensor:
    """Depth of the nearest surface at every pixel centre.

    Every triangle that faces the camera tests the pixels of a small square window over its bounding box;
    triangles are grouped by the window they need, so that small ones stay cheap.

    Args:
        vertices: (N, V, 3) camera frame, mm.
        faces: (F, 3) vertex indices, counter-clockwise from outside; the meshes are closed, or open only
            where no ray enters.
        focal: (N,) px.
        principal: (N, 2) px.
        size: side of the square images, px.
        image: (N,) which image each mesh is drawn into; by default each its own.
        images: how many images there are.

    Returns:
        (images, size, size) depth in mm, `inf` where nothing was hit.
    """
    count = len(vertices)
    images = count if images is None else images
    depth = vertices[..., 2].clamp(min=1.0)
    inverse = 1.0 / depth  # perspective: 1/z, not z, is linear over the image
    pixels = vertices[..., :2] * (focal[:, None] * inverse)[..., None] + principal[:, None]
    corners = torch.cat([pixels, inverse[..., None]], dim=-1)[:, faces]  # (N, F, 3, 3)
    a, b, c = corners.unbind(2)
    area = (b[..., 0] - a[..., 0]) * (c[..., 1] - a[..., 1]) - (b[..., 1] - a[..., 1]) * (c[..., 0] - a[..., 0])
    low = corners[..., :2].amin(2)
    high = corners[..., :2].amax(2)
    seen = (area < -1e-6) & (high > 0).all(-1) & (low < size - 1).all(-1)
    seen &= (vertices[..., 2][:, faces] > 1.0).all(-1)
    mesh, face = seen.nonzero(as_tuple=True)
    low, high = low[mesh, face].ceil().clamp(min=0.0), high[mesh, face].floor().clamp(max=size - 1.0)
    extent = (high - low).amax(1)
    inside = (high >= low).all(1)

    # Each triangle as three edge functions and a depth plane, all linear in the pixel.
    a, b, c, area = a[mesh, face], b[mesh, face], c[mesh, face], area[mesh, face]
    edge_a = _edge(b, c, area)
    edge_b = _edge(c, a, area)
    edges = torch.stack([edge_a, edge_b, -edge_a - edge_b], dim=1)  # (T, 3, [du, dv, 1])
    edges[:, 2, 2] += 1.0
    plane = (edges * torch.stack([a[:, 2], b[:, 2], c[:, 2]], dim=1)[..., None]).sum(1)  # (T, 3)
    base = mesh if image is None else image[mesh]

    nearest = torch.zeros(images * size * size, device=vertices.device)  # of 1/z: the largest wins
    smallest = -1
    for window in _WINDOWS:
        chosen = (inside & (extent > smallest - 1) & (extent <= window - 1)).nonzero(as_tuple=True)[0]
        smallest = window
        if len(chosen) == 0:
            continue
        step = torch.arange(window, device=vertices.device, dtype=vertices.dtype)
        u = low[chosen, 0, None] + step  # (T, W)
        v = low[chosen, 1, None] + step
        e, p = edges[chosen], plane[chosen]
        hit = None
        for k in range(3):
            row = e[:, k, 0, None] * u
            column = e[:, k, 1, None] * v + e[:, k, 2, None]
            test = (row[:, None, :] + column[:, :, None]) >= -1e-5  # (T, W, W)
            hit = test if hit is None else hit & test
        assert hit is not None
        hit &= (u <= high[chosen, 0, None])[:, None, :] & (v <= high[chosen, 1, None])[:, :, None]
        t, j, i = hit.nonzero(as_tuple=True)
        value = p[t, 0] * u[t, i] + p[t, 1] * v[t, j] + p[t, 2]
        where = (base[chosen][t] * size + v[t, j].long()) * size + u[t, i].long()
        nearest.scatter_reduce_(0, where, value, "amax")
    return torch.where(nearest > 0, 1.0 / nearest, torch.inf).view(images, size, size)


def _edge(a: Tensor, b: Tensor, area: Tensor) -> Tensor:
    """Coefficients (T, 3) of the barycentric weight of the corner opposite to edge a-b."""
    du = (a[:, 1] - b[:, 1]) / area
    dv = (b[:, 0] - a[:, 0]) / area
    return torch.stack([du, dv, -(du * a[:, 0] + dv * a[:, 1])], dim=1)
