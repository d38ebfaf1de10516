"""Synthetic crops that do not show a hand: faces, bodies, arms, furniture and things."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from handpose.geometry.crop import PATCH
from handpose.synthetic.bodies import Bodies
from handpose.synthetic.hands import SyntheticHands, crop_camera
from handpose.synthetic.objects import Scene
from handpose.synthetic.render import rasterize
from handpose.synthetic.sensor import simulate_sensor
from handpose.synthetic.shapes import Ellipsoid, Plane, orthonormal, unit

_WAVES = 6  # of clothes, hair and folds
_THINGS = 5
_SPOTS = 12  # along the side of a crop


class OtherCrops:
    """An endless source of crops as a localizer may mistake them for hands.

    Args:
        hands: Source of hands; a third of the crops show their arms and other surfaces far from them. Its sampler
            determines everything.
        bodies: People.
    """

    def __init__(self, hands: SyntheticHands, bodies: Bodies) -> None:
        self._hands, self._bodies = hands, bodies
        self._sampler, self._turn = hands.sampler, 0

    def batch(self, count: int) -> Tensor:
        """Return `count` patches (N, 1, 96, 96) in -1..1, all of one kind, which changes from call to call."""
        people, elsewhere = self._people, self._hands.crops_elsewhere
        kinds = (people, elsewhere, people, elsewhere, people, self._things)
        self._turn += 1
        return kinds[self._turn % len(kinds)](count)

    def _people(self, count: int) -> Tensor:
        """Return crops of heads and other parts of bodies, often with folds, and stretched as by a wrong camera."""
        sample, bodies = self._sampler, self._bodies
        vertices = bodies.vertices[sample.index(count, len(bodies.vertices))]
        vertices = self._with_folds(vertices) @ self._rotations(count).transpose(1, 2)
        stretch = torch.exp(0.3 * sample.normal(count, 1, 1)) * sample.bernoulli(count, 0.4)[:, None, None]
        stretch = torch.where(stretch > 0, stretch, 1.0)
        vertices = torch.cat([vertices[..., :2] * stretch, vertices[..., 2:]], dim=-1)
        target = self._targets(vertices)
        center = self._centers(count)
        noise = sample.normal(count, 3) * 20.0
        noise[:, 2] = -sample.uniform(count, -5.0, 60.0)
        vertices = vertices + (center - target + noise)[:, None]
        focal, principal = crop_camera(center, self._hands.cube)
        depth = self._with_holes(rasterize(vertices, bodies.faces, focal, principal, PATCH))
        return self._measured(depth, center, things=1)

    def _with_holes(self, depth: Tensor) -> Tensor:
        """Return depth (N, 96, 96), half of it without large spots: cameras miss hair, eyes and dark clothes."""
        sample, count = self._sampler, len(depth)
        spots = F.interpolate(sample.normal(count, 1, _SPOTS, _SPOTS), (PATCH, PATCH), mode="bilinear")[:, 0]
        missing = spots > sample.uniform(count, 0.2, 2.0, 1, 1)
        return torch.where(missing & sample.bernoulli(count, 0.5)[:, None, None], torch.inf, depth)

    def _with_folds(self, vertices: Tensor) -> Tensor:
        """Return vertices (N, V, 3), half of them moved by waves of up to a few mm."""
        sample, count = self._sampler, len(vertices)
        length = torch.exp(sample.uniform(count, math.log(12.0), math.log(120.0), 1, _WAVES))
        direction = unit(sample.normal(count, _WAVES, 3)).transpose(1, 2)
        phase = vertices @ (2.0 * math.pi * direction / length) + sample.uniform(count, 0.0, 2.0 * math.pi, 1, _WAVES)
        height = length / 60.0 * sample.uniform(count, 0.0, 4.0, 1, 1) * sample.bernoulli(count, 0.5)[:, None, None]
        return vertices + (torch.sin(phase) * height) @ unit(sample.normal(count, _WAVES, 3))

    def _rotations(self, count: int) -> Tensor:
        """Return rotations (N, 3, 3) of people: mostly upright and facing the camera."""
        sample = self._sampler
        up = sample.normal(count, 3) * 0.3
        up = up + up.new_tensor([0.0, 1.0, 0.0])
        up = torch.where(sample.bernoulli(count, 0.12)[:, None], sample.normal(count, 3), up)
        facing = sample.normal(count, 3) * 0.6 + up.new_tensor([0.0, 0.0, 1.0])
        facing = torch.where(sample.bernoulli(count, 0.2)[:, None], sample.normal(count, 3), facing)
        y = unit(up)
        x = unit(torch.linalg.cross(y, facing))
        return torch.stack([x, y, torch.linalg.cross(x, y)], dim=2)

    def _targets(self, vertices: Tensor) -> Tensor:
        """Return a point (N, 3) of each body (N, V, 3) on the side of the camera; half of them are on heads."""
        sample, count = self._sampler, len(vertices)
        of_head, of_other = (
            part[sample.index(count * 6, len(part))].view(count, 6) for part in (self._bodies.head, self._bodies.other)
        )
        chosen = torch.where(sample.bernoulli(count, 0.5)[:, None], of_head, of_other)
        points = vertices.gather(1, chosen[..., None].expand(-1, -1, 3))
        return points[torch.arange(count), points[..., 2].argmin(1)]

    def _centers(self, count: int) -> Tensor:
        sample = self._sampler
        z = torch.exp(sample.uniform(count, math.log(220.0), math.log(1600.0)))
        ray = sample.uniform(count, -1.0, 1.0, 2) * z.new_tensor(self._hands.scenes.half_view)
        return torch.cat([ray * z[:, None], z[:, None]], dim=1)

    def _things(self, count: int) -> Tensor:
        """Return crops of balls, sticks and boards."""
        center = self._centers(count)
        return self._measured(center.new_full((count, PATCH, PATCH), torch.inf), center, things=_THINGS)

    def _measured(self, depth: Tensor, center: Tensor, things: int) -> Tensor:
        """Return patches of the depth (N, 96, 96) around centers (N, 3), with up to `things` things, and walls."""
        sample, count = self._sampler, len(depth)
        focal, principal = crop_camera(center, self._hands.cube)
        rays = Scene.rays_of(focal, principal, PATCH)
        for _ in range(things):
            radii = torch.exp(sample.uniform(count, math.log(7.0), math.log(150.0), 3))
            basis = orthonormal(unit(sample.normal(count, 3)))
            shape = Ellipsoid(center + 50.0 * sample.normal(count, 3), radii, basis)
            shown = sample.bernoulli(count, 0.25 if things == 1 else 0.6)[:, None, None]
            depth = torch.where(shown, torch.minimum(depth, shape.depth(rays)), depth)
        normal = sample.normal(count, 3) * 0.6
        normal[:, 2] = normal[:, 2].abs() + 0.4
        normal = unit(normal)
        wall = Plane(normal, (normal * center).sum(-1) + sample.uniform(count, -20.0, 140.0))
        shown = sample.bernoulli(count, 0.25)[:, None, None]
        depth = torch.where(shown, torch.minimum(depth, wall.depth(rays)), depth)
        pixel = center[:, 2] / focal
        depth = simulate_sensor(depth, pixel, sample.generator, coarsest=self._hands.scenes.coarsest)
        return self._hands.to_patches(depth, center[:, 2])
