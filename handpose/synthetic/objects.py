"""Scenes of hands, and the objects around them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from handpose.synthetic.hand_model import HandModel
from handpose.synthetic.sampler import Sampler
from handpose.synthetic.shapes import Ellipsoid, Plane, orthonormal, unit
from handpose.synthetic.skeleton import LANDMARKS


class Scene(NamedTuple):
    """Hands in the camera frame, and the cameras.

    Attributes:
        vertices: (N, V, 3) mm.
        landmarks: (N, L, 3) mm.
        mass: (N, 3) centers of mass, mm.
        focal: (N,) focal lengths, px.
        principal: (N, 2) principal points, px.
    """

    vertices: Tensor
    landmarks: Tensor
    mass: Tensor
    focal: Tensor
    principal: Tensor

    def select(self, images: Tensor) -> Scene:
        """Return the scene of these images only."""
        return Scene(*(field[images] for field in self))

    def rays(self, size: int) -> Tensor:
        """Return the rays (N, size, size, 3) through the pixel centers, with z = 1."""
        return self.rays_of(self.focal, self.principal, size)

    @staticmethod
    def rays_of(focal: Tensor, principal: Tensor, size: int) -> Tensor:
        """Return the rays (N, size, size, 3) of cameras with these focal lengths and principal points, with z = 1."""
        grid = torch.arange(size, device=focal.device, dtype=focal.dtype)
        x = ((grid - principal[:, 0, None]) / focal[:, None])[:, None, :].expand(-1, size, -1)
        y = ((grid - principal[:, 1, None]) / focal[:, None])[:, :, None].expand(-1, -1, size)
        return torch.stack([x, y, torch.ones_like(x)], dim=-1)


class Objects:
    """Random objects around hands.

    Every method returns the shapes that an object consists of.

    Args:
        hand: The hand model.
        sampler: Source of all random samples.
        upright: Fraction of upright rotations (see `Sampler.rotations`).
    """

    def __init__(self, hand: HandModel, sampler: Sampler, upright: float) -> None:
        self._hand, self._sampler, self._upright = hand, sampler, upright

    def fingers(self, scene: Scene) -> Tensor:
        """Return the vertices (N, V, 3) of the hands without their forearms, mm."""
        return scene.vertices[:, ~self._hand.is_forearm]

    def upper_arm(self, scene: Scene) -> list[Ellipsoid]:
        """Return a long upper arm, bent at the elbow: arms end at a body or outside the image, never in the air."""
        sample = self._sampler
        elbow = scene.vertices[:, -1]
        along = unit(unit(elbow - scene.landmarks[:, 0]) + 0.4 * sample.normal(len(elbow), 3))
        forearm = scene.vertices[:, self._hand.is_forearm]
        elbow_radius = (forearm - elbow[:, None]).norm(dim=-1)[:, :-1].amin(1).clamp(min=25.0)
        arm_radius = elbow_radius * sample.uniform(len(elbow), 1.1, 1.6)
        basis = orthonormal(along)
        muscle = torch.stack([torch.full_like(arm_radius, 330.0), arm_radius, arm_radius], dim=1)
        joint = elbow_radius[:, None].expand(-1, 3)
        return [Ellipsoid(elbow + 310.0 * along, muscle, basis), Ellipsoid(elbow, joint, basis)]

    def body(self, scene: Scene) -> list[Ellipsoid]:
        """Return a torso or head, round or flat, behind the farthest finger."""
        sample, count = self._sampler, len(scene.mass)
        radii = sample.uniform(count, 70.0, 320.0, 3)
        z = self.fingers(scene)[..., 2].amax(1) + sample.uniform(count, -10.0, 90.0) + radii[:, 2]
        xy = scene.mass[:, :2] + 110.0 * sample.normal(count, 2)
        basis = torch.eye(3, device=z.device).expand(count, 3, 3)
        return [Ellipsoid(torch.cat([xy, z[:, None]], dim=1), radii, basis)]

    def table(self, scene: Scene) -> list[Plane]:
        """Return a table that the hand lies on, or a wall behind it."""
        sample, count = self._sampler, len(scene.mass)
        normal = sample.normal(count, 3) * 0.8
        normal[:, 2] = normal[:, 2].abs() + 0.35
        normal = unit(normal)
        distance = (self.fingers(scene) * normal[:, None]).sum(-1).amax(1) + sample.uniform(count, -4.0, 60.0)
        return [Plane(normal, distance)]

    def held_object(self, scene: Scene) -> list[Ellipsoid]:
        """Return an object in the hand, on the side of the palm and along the knuckles."""
        sample, count = self._sampler, len(scene.mass)
        knuckles = scene.landmarks[:, [LANDMARKS.index(f"{f}_1") for f in ("index", "middle", "ring", "pinky")]]
        across = unit(knuckles[:, 0] - knuckles[:, 3])
        palm_side = unit(torch.linalg.cross(across, knuckles.mean(1) - scene.landmarks[:, 0]))
        radius = sample.uniform(count, 9.0, 36.0, 1)
        center = knuckles.mean(1) + palm_side * (radius + 12.0) + 6.0 * sample.normal(count, 3)
        length = sample.uniform(count, 0.8, 5.0, 1)
        radii = radius * torch.cat([length, torch.ones_like(length), torch.ones_like(length)], dim=1)
        return [Ellipsoid(center, radii, orthonormal(across))]

    def occluder(self, scene: Scene) -> list[Ellipsoid]:
        """Return an object between the camera and the hand."""
        sample, count = self._sampler, len(scene.mass)
        z = self.fingers(scene)[..., 2].amin(1) - sample.uniform(count, 40.0, 110.0)
        xy = scene.mass[:, :2] + 65.0 * sample.normal(count, 2)
        radii = sample.uniform(count, 6.0, 38.0, 3)
        return [Ellipsoid(torch.cat([xy, z[:, None]], dim=1), radii, sample.rotations(count, self._upright))]
