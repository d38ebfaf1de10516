"""Random objects of rooms: people, walls, furniture and things of any size."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from handpose.synthetic.objects import Objects, Scene
from handpose.synthetic.sampler import Sampler
from handpose.synthetic.shapes import Ellipsoid, Plane, orthonormal, unit


class RoomObjects:
    """Random objects of rooms with hands.

    Args:
        objects: The objects around the hands.
        sample: Source of all random samples.
        size: Height and width of the images, px.
        upright: Fraction of upright rotations (see `Sampler.rotations`).
    """

    def __init__(self, objects: Objects, sample: Sampler, size: tuple[int, int], upright: float) -> None:
        self._objects, self._sample, self._size, self._upright = objects, sample, size, upright

    def torso(self, scene: Scene) -> list[Ellipsoid]:
        """Return a chest and a head at the end of the arm."""
        sample, count = self._sample, len(scene.mass)
        elbow = scene.vertices[:, -1]
        shoulder = elbow + unit(elbow - scene.landmarks[:, 0]) * sample.uniform(count, 150.0, 350.0, 1)
        away = unit(sample.normal(count, 3) * shoulder.new_tensor([1.0, 0.6, 0.6]))
        chest = shoulder + 170.0 * away
        up = shoulder.new_tensor([0.0, -1.0, 0.0]) + 0.25 * sample.normal(count, 3)
        basis = orthonormal(unit(up))
        radii = torch.cat([sample.uniform(count, 230.0, 340.0, 1), sample.uniform(count, 90.0, 200.0, 2)], dim=1)
        head = chest + unit(up) * (radii[:, :1] + 90.0)
        skull = sample.uniform(count, 0.8, 1.1, 1) * shoulder.new_tensor([120.0, 78.0, 92.0])
        return [Ellipsoid(chest, radii, basis), Ellipsoid(head, skull, basis)]

    def wall(self, scene: Scene, *, slant: float) -> list[Plane]:
        """Return a wall, a floor or a desk behind the hand, often within reach of the arm."""
        sample, count = self._sample, len(scene.mass)
        normal = sample.normal(count, 3) * slant
        normal[:, 2] = normal[:, 2].abs() + 0.9 - slant
        normal = unit(normal)
        farthest = (self._objects.fingers(scene) * normal[:, None]).sum(-1).amax(1)
        anywhere = torch.exp(sample.uniform(count, math.log(20.0), math.log(2500.0)))
        within_reach = sample.uniform(count, 150.0, 1100.0)
        return [Plane(normal, farthest + torch.where(sample.bernoulli(count, 0.5), within_reach, anywhere))]

    def thing(self, scene: Scene) -> tuple[Tensor, Tensor, Tensor]:
        """Return center, half sides and axes of a ball, stick, box or board of any size, anywhere in the image.

        Objects that would hide the hand are moved behind it.
        """
        sample, count, (height, width) = self._sample, len(scene.mass), self._size
        z = torch.exp(sample.uniform(count, math.log(200.0), math.log(3000.0)))
        middle = (scene.mass.new_tensor([width, height]) / 2 - scene.principal) / scene.focal[:, None]
        ray = middle + sample.uniform(count, -0.8, 0.8, 2)
        center = torch.cat([ray, torch.ones_like(z)[:, None]], dim=1) * z[:, None]
        radii = torch.exp(sample.uniform(count, math.log(8.0), math.log(260.0), 3))
        # Move objects that would hide the hand behind it.
        hides = (center - scene.mass).norm(dim=-1) < radii.amax(1) + 90.0
        hides |= (ray - scene.mass[:, :2] / scene.mass[:, 2:]).norm(dim=-1) * z < radii.amax(1) + 60.0
        behind = scene.mass[:, 2] + radii.amax(1) + sample.uniform(count, 40.0, 400.0)
        center = torch.where((hides & (z < behind))[:, None], center * (behind / z)[:, None], center)
        return center, radii, sample.rotations(count, self._upright)
