"""Synthetic depth crops and images of hands, with their joints."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from handpose.geometry.camera import Camera
from handpose.geometry.crop import PATCH
from handpose.geometry.layouts import JointLayout
from handpose.network.config import TRAINED_RANGE
from handpose.synthetic.annotation import joint_weights
from handpose.synthetic.hand_model import HandModel
from handpose.synthetic.objects import Objects, Scene
from handpose.synthetic.render import rasterize
from handpose.synthetic.sampler import Sampler
from handpose.synthetic.sensor import simulate_sensor
from handpose.synthetic.shapes import Ellipsoid, Plane, unit

_SAME_SURFACE = 20.0  # mm: more than the error of a sensor, and less than the distance of an occluder
_POSE_NOISE = 3.5  # degrees
_ELSEWHERE = (105.0, 230.0)  # mm from the center of a hand: the cube shows at most half of it


@dataclass(frozen=True)
class SceneRange:
    """Ranges and probabilities that scenes are sampled from.

    Attributes:
        distance: Minimum and maximum distance of the hand, mm.
        half_view: Tangents of half the horizontal and vertical field of view.
        center_noise: Standard deviation of the hand center, mm.
        upright: Fraction of hands with the palm or the back turned toward the camera.
        upper_arm: Probability of an upper arm.
        body: Probability of a torso or head behind the hand.
        table: Probability of a table or wall.
        held: Probability of an object in the hand.
        occluder: Probability of an object in front of the hand.
        second_hand: Probability of the other hand.
        sleeve: Probability of a sleeve.
        border: Probability of a crop that is cut off by the image border.
        coarsest: Size of a pixel of the coarsest sensor at the hand's distance, mm.
    """

    distance: tuple[float, float] = TRAINED_RANGE
    half_view: tuple[float, float] = (0.55, 0.42)
    center_noise: float = 8.0
    upright: float = 0.45
    upper_arm: float = 0.9
    body: float = 0.35
    table: float = 0.12
    held: float = 0.10
    occluder: float = 0.05
    second_hand: float = 0.08
    sleeve: float = 0.4
    border: float = 0.06
    coarsest: float = 3.2


TRAINING_SCENES = SceneRange(distance=(150.0, 1600.0), coarsest=7.0)
"""Scenes of the training crops: the test set's, and hands that are farther away and seen by coarser sensors."""


def crop_camera(center: Tensor, cube: float) -> tuple[Tensor, Tensor]:
    """Return focal lengths (N,) and principal points (N, 2), px, that show cubes (mm) around centers (N, 3) in mm."""
    focal = PATCH * center[:, 2] / cube
    return focal, (PATCH - 1) / 2 - focal[:, None] * center[:, :2] / center[:, 2:]


class SyntheticHands:
    """An endless source of depth crops and images of hands, with their joints.

    Args:
        hand: The hand model; its device renders.
        poses: (P, B, 3) joint angles to sample from, degrees.
        layout: Joint layout.
        cube: Side of the cube of each crop, mm.
        uv_scale: Patch pixels that correspond to a normalized u or v of 1.
        scenes: Ranges that scenes are sampled from.
        seed: Seed of all random samples.

    Attributes:
        sampler: Source of all random samples.
        generator: The sampler's generator.
        objects: The objects around the hands.
    """

    def __init__(
        self,
        hand: HandModel,
        poses: Tensor,
        layout: JointLayout,
        *,
        cube: float,
        uv_scale: float,
        scenes: SceneRange = SceneRange(),
        seed: int = 0,
    ) -> None:
        self.hand, self.cube, self.uv_scale, self.scenes = hand, cube, uv_scale, scenes
        self.device = hand.device
        self.poses = poses.to(self.device)
        self.weights = joint_weights(layout).to(self.device)
        self.sampler = Sampler(seed, self.device)
        self.generator = self.sampler.generator
        self.objects = Objects(hand, self.sampler, scenes.upright)
        corners = hand.mean[: hand.vertices][hand.faces]
        areas = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=-1)
        mass = torch.zeros(hand.vertices, device=self.device).index_add_(
            0, hand.faces.flatten(), areas.repeat_interleave(3)
        )
        self.mass = torch.where(hand.is_forearm, 0.0, mass)
        self.mass /= self.mass.sum()

    def batch(self, count: int) -> tuple[Tensor, Tensor]:
        """Return `count` patches (N, 1, 96, 96) in -1..1 and their normalized joints (N, J, 3)."""
        vertices, landmarks, mass = self.placed(count)
        center = self._crop_centers(mass, landmarks)
        focal, principal = crop_camera(center, self.cube)
        depth = self._render(Scene(vertices, landmarks, mass, focal, principal), PATCH)
        patches = self.to_patches(depth, center[:, 2])
        joints = self.weights @ landmarks
        uv = joints[..., :2] * (focal[:, None] / joints[..., 2])[..., None] + principal[:, None]
        z = (joints[..., 2:] - center[:, None, 2:]) / (self.cube / 2)
        return patches, torch.cat([uv / self.uv_scale, z], dim=-1)

    def crops_elsewhere(self, count: int) -> Tensor:
        """Return patches (N, 1, 96, 96) in -1..1 that are centered on arms and other surfaces far from the hand."""
        sample = self.sampler
        vertices, landmarks, mass = self.placed(count)
        wrist, elbow = landmarks[:, 0], vertices[:, -1]
        toward = wrist + sample.uniform(count, 0.25, 1.1, 1) * (elbow - wrist) + 20.0 * sample.normal(count, 3)
        aside = unit(sample.normal(count, 3) * mass.new_tensor([1.0, 1.0, 0.3])) * sample.uniform(count, *_ELSEWHERE, 1)
        center = torch.where(sample.bernoulli(count, 0.4)[:, None], toward, mass + aside)
        offset = center - mass
        far = unit(offset) * offset.norm(dim=-1, keepdim=True).clamp(min=_ELSEWHERE[0])
        center = mass + far
        center[:, 2].clamp_(min=150.0)
        focal, principal = crop_camera(center, self.cube)
        depth = self._render(Scene(vertices, landmarks, mass, focal, principal), PATCH)
        # A localizer mistakes a surface for a hand, so half of the cubes are moved to the surface beside the hand.
        middle = slice(PATCH // 2 - 4, PATCH // 2 + 4)
        surface = depth[:, middle, middle].flatten(1).amin(1) + sample.uniform(count, 0.0, 40.0)
        aside_enough = far[:, :2].norm(dim=-1) > _ELSEWHERE[0]
        moved = surface.isfinite() & aside_enough & sample.bernoulli(count, 0.5)
        return self.to_patches(depth, torch.where(moved, surface, center[:, 2]))

    def to_patches(self, depth: Tensor, z: Tensor) -> Tensor:
        """Return patches (N, 1, 96, 96) in -1..1, given the depth (N, 96, 96) in mm and centers at z (N,)."""
        depth = self._cut_off_by_border(depth)
        return ((depth - z[:, None, None]) / (self.cube / 2)).clamp(-1.0, 1.0)[:, None]

    def frames(self, count: int, camera: Camera) -> tuple[Tensor, Tensor, Tensor]:
        """Render complete images.

        Args:
            count: Number of images.
            camera: Their camera; its two focal lengths must be equal.

        Returns:
            Depth (N, H, W) in mm with 0 for missing pixels, the joints (N, J, 3) in mm in the camera frame, and the
            visible fraction (N,) of each hand's near side, which other objects and the forearm may hide.
        """
        vertices, landmarks, mass = self.placed(count)
        focal = torch.full((count,), camera.fx, device=self.device)
        principal = torch.tensor([camera.cx, camera.cy], device=self.device).expand(count, 2)
        size = int(max(camera.width, camera.height))
        depth = self._render(Scene(vertices, landmarks, mass, focal, principal), size)
        of_hand = self.hand.faces[~self.hand.is_forearm[self.hand.faces].any(dim=1)]
        alone = rasterize(vertices, of_hand, focal, principal, size)
        depth, alone = (image[:, : int(camera.height), : int(camera.width)] for image in (depth, alone))
        visible = (depth - alone).abs() < _SAME_SURFACE  # false where either depth is missing
        fraction = visible.sum((1, 2)) / alone.isfinite().sum((1, 2)).clamp(min=1)
        return torch.where(depth.isfinite(), depth, 0.0), self.weights @ landmarks, fraction

    def placed(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return hands in the camera frame: vertices (N, V, 3), landmarks (N, L, 3), centers of mass (N, 3), mm."""
        vertices, landmarks = self._posed(count)
        mass = self._locations(vertices)
        offset = mass[:, None] - (self.mass @ vertices)[:, None]
        return vertices + offset, landmarks + offset, mass

    def _render(self, scene: Scene, size: int) -> Tensor:
        """Return the sensor's depth (N, size, size) of hands and objects in mm, `inf` for missing pixels."""
        depth = rasterize(scene.vertices, self.hand.faces, scene.focal, scene.principal, size)
        depth = self._add_second_hands(depth, scene)
        scenes, objects = self.scenes, self.objects
        placed: list[tuple[float, Callable[[Scene], Sequence[Ellipsoid | Plane]]]] = [
            (scenes.upper_arm, objects.upper_arm),
            (scenes.body, objects.body),
            (scenes.table, objects.table),
            (scenes.held, objects.held_object),
            (scenes.occluder, objects.occluder),
        ]
        for probability, shapes_of in placed:
            images = self.sampler.bernoulli(len(depth), probability).nonzero()[:, 0]
            if len(images):
                chosen = scene.select(images)
                rays = chosen.rays(size)
                for shape in shapes_of(chosen):
                    depth[images] = torch.minimum(depth[images], shape.depth(rays))
        return simulate_sensor(depth, scene.mass[:, 2] / scene.focal, self.generator, coarsest=self.scenes.coarsest)

    def _posed(self, count: int) -> tuple[Tensor, Tensor]:
        """Return rotated hands with the wrist at the origin: vertices (N, V, 3) and landmarks (N, L, 3), mm."""
        angles = self.poses[self.sampler.index(count, len(self.poses))]
        angles = angles + _POSE_NOISE * self.sampler.normal(*angles.shape) * (angles != 0)
        vertices, landmarks = self.hand.pose(self.hand.draw_shapes(count, self.generator), angles)
        vertices = self._add_sleeves(vertices, landmarks)
        rotation = self.sampler.rotations(count, self.scenes.upright).transpose(1, 2)
        return vertices @ rotation, landmarks @ rotation

    def _add_sleeves(self, vertices: Tensor, landmarks: Tensor) -> Tensor:
        """Thicken forearms from a random distance behind the wrist, with one or two folds."""
        sample, count = self.sampler, len(vertices)
        arm = self.hand.is_forearm
        forearm = vertices[:, arm]
        wrist = landmarks[:, 0]
        axis = unit(forearm.mean(1) - wrist)
        along = ((forearm - wrist[:, None]) * axis[:, None]).sum(-1, keepdim=True)
        radial = forearm - wrist[:, None] - along * axis[:, None]
        start = sample.uniform(count, -5.0, 90.0, 1, 1)
        thick = sample.uniform(count, 1.5, 18.0, 1, 1) * sample.bernoulli(count, self.scenes.sleeve)[:, None, None]
        fold = 1.0 + 0.12 * torch.sin(along / sample.uniform(count, 6.0, 25.0, 1, 1))
        grown = forearm + radial / radial.norm(dim=-1, keepdim=True).clamp(min=1.0) * thick * fold * (
            (along - start) / 6.0
        ).clamp(0.0, 1.0)
        vertices = vertices.clone()
        vertices[:, arm] = grown
        return vertices

    def _locations(self, vertices: Tensor) -> Tensor:
        """Sample the hands' centers of mass (N, 3) in the camera frame, mm."""
        count = len(vertices)
        low, high = self.scenes.distance
        z = torch.exp(self.sampler.uniform(count, math.log(low), math.log(high)))
        # All vertices must lie in front of the camera.
        z = torch.maximum(z, 60.0 - (vertices[..., 2] - (self.mass @ vertices)[..., 2, None]).amin(1).clamp(min=-170.0))
        ray = self.sampler.uniform(count, -1.0, 1.0, 2) * torch.tensor(self.scenes.half_view, device=self.device)
        return torch.cat([ray * z[:, None], z[:, None]], dim=1)

    def _crop_centers(self, mass: Tensor, landmarks: Tensor) -> Tensor:
        """Sample hand centers (N, 3) as localized, annotated, or computed from the visible points, mm.

        Such centers lie on the visible side and toward the arm, with a small and sometimes a larger error.
        """
        sample, count = self.sampler, len(mass)
        toward_arm = (0.08 + 0.18 * sample.normal(count, 1)).clamp(-0.3, 0.5) * (landmarks[:, 0] - mass)
        spread = torch.where(sample.bernoulli(count, 0.15), 2.0, 1.0)[:, None] * self.scenes.center_noise
        noise = (spread * sample.normal(count, 3)).clamp(-28.0, 28.0)
        noise[:, 2] -= sample.uniform(count, 0.0, 20.0)
        return mass + toward_arm + noise

    def _add_second_hands(self, depth: Tensor, scene: Scene) -> Tensor:
        sample = self.sampler
        images = sample.bernoulli(len(depth), self.scenes.second_hand).nonzero()[:, 0]
        if len(images) == 0:
            return depth
        vertices, _ = self._posed(len(images))
        offset = unit(sample.normal(len(images), 3)) * sample.uniform(len(images), 90.0, 190.0, 1)
        offset[:, 2].abs_()  # not in front of the first hand
        # The other hand is a mirror image, which reverses the orientation of the faces.
        vertices = (vertices - (self.mass @ vertices)[:, None]) * vertices.new_tensor([-1.0, 1.0, 1.0])
        vertices = vertices + (scene.mass[images] + offset)[:, None]
        faces = self.hand.faces.flip(1)
        focal, principal = scene.focal[images], scene.principal[images]
        return torch.minimum(depth, rasterize(vertices, faces, focal, principal, depth.shape[1], images, len(depth)))

    def _cut_off_by_border(self, depth: Tensor) -> Tensor:
        """Remove a margin at one side of some crops, as if it lay outside the image."""
        sample, count = self.sampler, len(depth)
        margin = (sample.uniform(count, 0.0, 0.33) * PATCH)[:, None, None]
        grid = torch.arange(PATCH, device=self.device)
        horizontal = sample.bernoulli(count, 0.5)[:, None, None]
        line = torch.where(horizontal, grid[None, None, :], grid[None, :, None])
        line = torch.where(sample.bernoulli(count, 0.5)[:, None, None], line, PATCH - 1 - line)
        outside = sample.bernoulli(count, self.scenes.border)[:, None, None] & (line < margin)
        return torch.where(outside, torch.inf, depth)
