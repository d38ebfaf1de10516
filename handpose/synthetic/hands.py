"""Training samples: a hand somewhere before a camera, what stands around it, its crop and its joints."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from handpose.geometry.camera import Camera
from handpose.geometry.crop import PATCH
from handpose.geometry.layouts import JointLayout
from handpose.network.config import TRAINED_RANGE
from handpose.synthetic.annotation import joint_weights
from handpose.synthetic.hand_model import HandModel
from handpose.synthetic.objects import Scene
from handpose.synthetic.render import rasterise
from handpose.synthetic.sensor import sense
from handpose.synthetic.shapes import ellipsoid, orthonormal, unit
from handpose.synthetic.skeleton import LANDMARKS

_SAME_SURFACE = 20.0  # mm: more than a sensor's error, less than what hides a hand is before it


@dataclass(frozen=True)
class SceneRange:
    """What scenes are drawn from; lengths in mm."""

    distance: tuple[float, float] = TRAINED_RANGE
    half_view: tuple[float, float] = (0.55, 0.42)  # tangent of the half angle of view, horizontal and vertical
    centre_noise: float = 8.0
    upright: float = 0.45  # share of hands with the palm or back turned to the camera
    upper_arm: float = 0.9
    body: float = 0.35
    table: float = 0.12
    held: float = 0.10
    occluder: float = 0.05
    second_hand: float = 0.08
    sleeve: float = 0.4
    border: float = 0.06


class SyntheticHands:
    """An endless source of crops with joints.

    Args:
        hand: the compiled hand, on the device to draw on.
        poses: (P, B, 3) joint angles to draw from, degrees.
        layout: whose joints to give.
        cube: side of the crop's cube, mm.
        scenes: what is drawn around the hand.
        seed: of everything.
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
        self.generator = torch.Generator(self.device).manual_seed(seed)
        corners = hand.mean[: hand.vertices][hand.faces]
        areas = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=-1)
        mass = torch.zeros(hand.vertices, device=self.device).index_add_(
            0, hand.faces.flatten(), areas.repeat_interleave(3)
        )
        self.mass = torch.where(hand.is_forearm, 0.0, mass)
        self.mass /= self.mass.sum()

    def uniform(self, count: int, low: float, high: float, *shape: int) -> Tensor:
        """(count, *shape) numbers between `low` and `high`."""
        return low + (high - low) * torch.rand(count, *shape, generator=self.generator, device=self.device)

    def normal(self, *shape: int) -> Tensor:
        """Normally distributed numbers."""
        return torch.randn(*shape, generator=self.generator, device=self.device)

    def happens(self, count: int, share: float) -> Tensor:
        """(count,) bool, true for about `share` of them."""
        return self.uniform(count, 0.0, 1.0) < share

    def batch(self, count: int) -> tuple[Tensor, Tensor]:
        """`count` patches (N, 1, 96, 96) in -1..1 and their joints (N, J, 3), normalised."""
        vertices, landmarks, mass = self.placed(count)
        centre = self._localised(mass, landmarks)
        focal = PATCH * centre[:, 2] / self.cube
        principal = (PATCH - 1) / 2 - focal[:, None] * centre[:, :2] / centre[:, 2:]
        depth = self._rendered(vertices, landmarks, mass, focal, principal, PATCH)
        depth = self._cut_by_border(depth)

        half = self.cube / 2
        patches = ((depth - centre[:, 2, None, None]) / half).clamp(-1.0, 1.0)[:, None]
        joints = self.weights @ landmarks
        uv = joints[..., :2] * (focal[:, None] / joints[..., 2])[..., None] + principal[:, None]
        z = (joints[..., 2:] - centre[:, None, 2:]) / half
        return patches, torch.cat([uv / self.uv_scale, z], dim=-1)

    def frames(self, count: int, camera: Camera) -> tuple[Tensor, Tensor, Tensor]:
        """Whole images (N, H, W) in mm, 0 = no reading, their joints' xyz (N, J, 3) in mm, and how much is seen.

        The last (N,) is the share of the hand's visible side that nothing hides, its own forearm neither.

        Args:
            count: how many.
            camera: whose images; its two focal lengths must agree.
        """
        vertices, landmarks, mass = self.placed(count)
        focal = torch.full((count,), camera.fx, device=self.device)
        principal = torch.tensor([camera.cx, camera.cy], device=self.device).expand(count, 2)
        size = int(max(camera.width, camera.height))
        depth = self._rendered(vertices, landmarks, mass, focal, principal, size)
        of_hand = self.hand.faces[~self.hand.is_forearm[self.hand.faces].any(dim=1)]
        alone = rasterise(vertices, of_hand, focal, principal, size)
        depth, alone = (image[:, : int(camera.height), : int(camera.width)] for image in (depth, alone))
        seen = (depth - alone).abs() < _SAME_SURFACE  # false where either has nothing
        share = seen.sum((1, 2)) / alone.isfinite().sum((1, 2)).clamp(min=1)
        return torch.where(depth.isfinite(), depth, 0.0), self.weights @ landmarks, share

    def placed(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Hands before the camera: vertices, landmarks and centres of mass."""
        vertices, landmarks = self._hands(count)
        centre = self._place(vertices)
        offset = centre[:, None] - (self.mass @ vertices)[:, None]
        return vertices + offset, landmarks + offset, centre

    def _rendered(
        self, vertices: Tensor, landmarks: Tensor, mass: Tensor, focal: Tensor, principal: Tensor, size: int
    ) -> Tensor:
        """What a sensor sees of hands and scenes, (N, size, size) mm, `inf` where it has no reading."""
        depth = rasterise(vertices, self.hand.faces, focal, principal, size)
        depth = self._second_hands(depth, mass, focal, principal)
        scene = Scene(vertices, landmarks, mass, focal, principal)
        for share, draw in (
            (self.scenes.upper_arm, self.upper_arm),
            (self.scenes.body, self.body),
            (self.scenes.table, self.table),
            (self.scenes.held, self.held),
            (self.scenes.occluder, self._occluder),
        ):
            images = self.happens(len(depth), share).nonzero()[:, 0]
            if len(images):
                chosen = Scene(*(field[images] for field in scene))
                depth[images] = torch.minimum(depth[images], draw(chosen, chosen.rays(size)))
        return sense(depth, mass[:, 2] / focal, self.generator)

    def _hands(self, count: int) -> tuple[Tensor, Tensor]:
        """Turned hands around their wrists: vertices (N, V, 3), landmarks (N, L, 3)."""
        pick = torch.randint(len(self.poses), (count,), generator=self.generator, device=self.device)
        angles = self.poses[pick]
        angles = angles + 3.5 * self.normal(*angles.shape) * (angles != 0)
        vertices, landmarks = self.hand.pose(self.hand.draw_shapes(count, self.generator), angles)
        vertices = self._sleeves(vertices, landmarks)
        rotation = self.rotations(count).transpose(1, 2)
        return vertices @ rotation, landmarks @ rotation

    def rotations(self, count: int) -> Tensor:
        """(N, 3, 3) from the hand's frame to the camera's: any, or palm or back before the camera."""
        first, second = (_rotation(unit(q)) for q in self.normal(2, count, 4))
        # An arm that reaches from the camera's side hides its own hand: seen, but seldom.
        anyhow = torch.where((first[:, 2, 1] > 0.6)[:, None, None], second, first)
        # The palm looks along -x of the hand; turn that to or from the camera, any way up, and tilt it.
        facing = torch.where(self.happens(count, 0.5), 1.0, -1.0)
        zero, one = torch.zeros_like(facing), torch.ones_like(facing)
        front = torch.stack(
            [torch.stack(row, -1) for row in ([zero, zero, facing], [zero, -one, zero], [facing, zero, zero])], -2
        )
        roll = 0.7 * self.normal(count) + (self.happens(count, 0.3)) * self.uniform(count, -math.pi, math.pi)
        tilt = 0.45 * self.normal(count, 2)
        turn = _about(roll, 2) @ _about(tilt[:, 0], 0) @ _about(tilt[:, 1], 1)
        upright = self.happens(count, self.scenes.upright)
        return torch.where(upright[:, None, None], turn @ front, anyhow)

    def _sleeves(self, vertices: Tensor, landmarks: Tensor) -> Tensor:
        """Forearms thickened from a random distance behind the wrist on, with a fold or two."""
        count = len(vertices)
        arm = self.hand.is_forearm
        forearm = vertices[:, arm]
        wrist = landmarks[:, 0]
        axis = unit(forearm.mean(1) - wrist)
        along = ((forearm - wrist[:, None]) * axis[:, None]).sum(-1, keepdim=True)
        radial = forearm - wrist[:, None] - along * axis[:, None]
        start = self.uniform(count, -5.0, 90.0, 1, 1)
        thick = self.uniform(count, 1.5, 18.0, 1, 1) * self.happens(count, self.scenes.sleeve)[:, None, None]
        fold = 1.0 + 0.12 * torch.sin(along / self.uniform(count, 6.0, 25.0, 1, 1))
        grown = forearm + radial / radial.norm(dim=-1, keepdim=True).clamp(min=1.0) * thick * fold * (
            (along - start) / 6.0
        ).clamp(0.0, 1.0)
        vertices = vertices.clone()
        vertices[:, arm] = grown
        return vertices

    def _place(self, vertices: Tensor) -> Tensor:
        """Where the hands' centres of mass are put, (N, 3)."""
        count = len(vertices)
        low, high = self.scenes.distance
        z = torch.exp(self.uniform(count, math.log(low), math.log(high)))
        # Nothing may lie behind the camera or too near for it to see.
        z = torch.maximum(z, 60.0 - (vertices[..., 2] - (self.mass @ vertices)[..., 2, None]).amin(1).clamp(min=-170.0))
        ray = self.uniform(count, -1.0, 1.0, 2) * torch.tensor(self.scenes.half_view, device=self.device)
        return torch.cat([ray * z[:, None], z[:, None]], dim=1)

    def _localised(self, mass: Tensor, landmarks: Tensor) -> Tensor:
        """The centres as users have them: found, marked by hand, or the mean of the points that are seen.

        These lie on the seen side, drawn to the arm, off by a bit, rarely by more.
        """
        count = len(mass)
        towards_arm = (0.08 + 0.18 * self.normal(count, 1)).clamp(-0.3, 0.5) * (landmarks[:, 0] - mass)
        spread = torch.where(self.happens(count, 0.15), 2.0, 1.0)[:, None] * self.scenes.centre_noise
        noise = (spread * self.normal(count, 3)).clamp(-28.0, 28.0)
        noise[:, 2] -= self.uniform(count, 0.0, 20.0)
        return mass + towards_arm + noise

    def _second_hands(self, depth: Tensor, centre: Tensor, focal: Tensor, principal: Tensor) -> Tensor:
        images = self.happens(len(depth), self.scenes.second_hand).nonzero()[:, 0]
        if len(images) == 0:
            return depth
        vertices, _ = self._hands(len(images))
        away = self.normal(len(images), 3)
        away = unit(away) * self.uniform(len(images), 90.0, 190.0, 1)
        away[:, 2].abs_()  # not before the first hand
        # Somebody's other hand: the mirror image, whose faces turn the other way round.
        vertices = (vertices - (self.mass @ vertices)[:, None]) * vertices.new_tensor([-1.0, 1.0, 1.0])
        vertices = vertices + (centre[images] + away)[:, None]
        faces = self.hand.faces.flip(1)
        other = rasterise(vertices, faces, focal[images], principal[images], depth.shape[1], images, len(depth))
        return torch.minimum(depth, other)

    def upper_arm(self, scene: Scene, rays: Tensor) -> Tensor:
        """From the elbow on, bent there, and long: arms end at bodies or leave the image, not in the air."""
        elbow = scene.vertices[:, -1]
        along = unit(unit(elbow - scene.landmarks[:, 0]) + 0.4 * self.normal(len(elbow), 3))
        forearm = scene.vertices[:, self.hand.is_forearm]
        round_end = (forearm - elbow[:, None]).norm(dim=-1)[:, :-1].amin(1).clamp(min=25.0)
        girth = round_end * self.uniform(len(elbow), 1.1, 1.6)
        basis = orthonormal(along)
        muscle = torch.stack([torch.full_like(girth, 330.0), girth, girth], dim=1)
        joint = round_end[:, None].expand(-1, 3)
        return torch.minimum(
            ellipsoid(rays, elbow + 310.0 * along, muscle, basis), ellipsoid(rays, elbow, joint, basis)
        )

    def body(self, scene: Scene, rays: Tensor) -> Tensor:
        """A torso or head, rounder or flatter, behind the farthest finger."""
        count = len(rays)
        radii = self.uniform(count, 70.0, 320.0, 3)
        behind = self.fingers(scene)[..., 2].amax(1) + self.uniform(count, -10.0, 90.0) + radii[:, 2]
        beside = scene.mass[:, :2] + 110.0 * self.normal(count, 2)
        flat = torch.eye(3, device=self.device).expand(count, 3, 3)
        return ellipsoid(rays, torch.cat([beside, behind[:, None]], dim=1), radii, flat)

    def table(self, scene: Scene, rays: Tensor) -> Tensor:
        """A table or wall that the hand lies on or stands before."""
        count = len(rays)
        normal = self.normal(count, 3) * 0.8
        normal[:, 2] = normal[:, 2].abs() + 0.35
        normal = unit(normal)
        farthest = (self.fingers(scene) * normal[:, None]).sum(-1).amax(1) + self.uniform(count, -4.0, 60.0)
        slope = (rays * normal[:, None, None]).sum(-1)
        return torch.where(slope > 0.05, farthest[:, None, None] / slope, torch.inf)

    def held(self, scene: Scene, rays: Tensor) -> Tensor:
        """A thing in the hand: along the knuckles, on the palm's side."""
        count = len(rays)
        knuckles = scene.landmarks[:, [LANDMARKS.index(f"{f}_1") for f in ("index", "middle", "ring", "pinky")]]
        across = unit(knuckles[:, 0] - knuckles[:, 3])
        palm_side = unit(torch.linalg.cross(across, knuckles.mean(1) - scene.landmarks[:, 0]))
        radius = self.uniform(count, 9.0, 36.0, 1)
        centre = knuckles.mean(1) + palm_side * (radius + 12.0) + 6.0 * self.normal(count, 3)
        length = self.uniform(count, 0.8, 5.0, 1)
        radii = radius * torch.cat([length, torch.ones_like(length), torch.ones_like(length)], dim=1)
        return ellipsoid(rays, centre, radii, orthonormal(across))

    def _occluder(self, scene: Scene, rays: Tensor) -> Tensor:
        """Something between the camera and the hand."""
        count = len(rays)
        before = self.fingers(scene)[..., 2].amin(1) - self.uniform(count, 40.0, 110.0)
        beside = scene.mass[:, :2] + 65.0 * self.normal(count, 2)
        radii = self.uniform(count, 6.0, 38.0, 3)
        return ellipsoid(rays, torch.cat([beside, before[:, None]], dim=1), radii, self.rotations(count))

    def fingers(self, scene: Scene) -> Tensor:
        """The hand's vertices without the forearm's."""
        return scene.vertices[:, ~self.hand.is_forearm]

    def _cut_by_border(self, depth: Tensor) -> Tensor:
        count = len(depth)
        margin = (self.uniform(count, 0.0, 0.33) * PATCH)[:, None, None]
        grid = torch.arange(PATCH, device=self.device)
        horizontal = self.happens(count, 0.5)[:, None, None]
        line = torch.where(horizontal, grid[None, None, :], grid[None, :, None])
        line = torch.where(self.happens(count, 0.5)[:, None, None], line, PATCH - 1 - line)
        cut = self.happens(count, self.scenes.border)[:, None, None] & (line < margin)
        return torch.where(cut, torch.inf, depth)


def _rotation(quaternion: Tensor) -> Tensor:
    w, x, y, z = quaternion.unbind(-1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def _about(angle: Tensor, axis: int) -> Tensor:
    half = torch.zeros(len(angle), 4, device=angle.device)
    half[:, 0], half[:, axis + 1] = torch.cos(angle / 2), torch.sin(angle / 2)
    return _rotation(half)
