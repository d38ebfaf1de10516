"""What is rendered beside the hand."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Scene(NamedTuple):
    """Placed hands and the views they are drawn in."""

    vertices: Tensor  # (N, V, 3) mm
    landmarks: Tensor  # (N, L, 3) mm
    mass: Tensor  # (N, 3) mm
    focal: Tensor  # (N,) px
    principal: Tensor  # (N, 2) px

    def rays(self, size: int) -> Tensor:
        """Directions (N, size, size, 3) through the pixels' centres, with z = 1."""
        return self.rays_of(self.focal, self.principal, size)

    @staticmethod
    def rays_of(focal: Tensor, principal: Tensor, size: int) -> Tensor:
        """The same for focal lengths (N,) and principal points (N, 2) in px."""
        grid = torch.arange(size, device=focal.device, dtype=focal.dtype)
        x = ((grid - principal[:, 0, None]) / focal[:, None])[:, None, :].expand(-1, size, -1)
        y = ((grid - principal[:, 1, None]) / focal[:, None])[:, :, None].expand(-1, -1, size)
        return torch.stack([x, y, torch.ones_like(x)], dim=-1)
