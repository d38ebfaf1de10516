"""Whole views for localisation: hands in rooms with people, furniture and things that are no hands."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from handpose.geometry.layouts import MSRA21
from handpose.synthetic.hand_model import HandModel
from handpose.synthetic.hands import SceneRange, SyntheticHands
from handpose.synthetic.objects import Scene
from handpose.synthetic.render import rasterize
from handpose.synthetic.sensor import simulate_sensor
from handpose.synthetic.shapes import box, ellipsoid, orthonormal, unit
from handpose.synthetic.skeleton import LANDMARKS, PARENTS

_FLESH = 22.0  # mm: a point no farther than this from a hand's bones is one of the hand
_VIEWS = SceneRange(distance=(150.0, 1300.0), half_view=(0.58, 0.43), sleeve=0.5)


class Rooms:
    """An endless source of coarse depth images with the places of their hands.

    Args:
        hand: the compiled hand, on the device to draw on.
        poses: (P, B, 3) joint angles to draw from, degrees.
        focal: focal length of the images, px.
        size: (height, width) of the images, px; the principal point is in their middle.
        seed: of everything.
    """

    def __init__(self, hand: HandModel, poses: Tensor, *, focal: float, size: tuple[int, int], seed: int = 0) -> None:
        self._hands = SyntheticHands(hand, poses, MSRA21, cube=250.0, uv_scale=95.0, scenes=_VIEWS, seed=seed)
        self.focal, self.size = focal, size
        self.device = hand.device
        self.generator = self._hands.generator

    def batch(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """`count` images.

        Returns:
            Depth (N, h, w) in mm, 0 = no reading; points (N, P, 3) in mm along the bones of up to two hands, and
            the hand's centre (N, P, 3) that each belongs to; `inf` where an image has fewer hands.
        """
        hands, (height, width) = self._hands, self.size
        size = max(height, width)
        focal = torch.full((count,), self.focal, device=self.device)
        principal = torch.tensor([(width - 1) / 2, (height - 1) / 2], device=self.device).expand(count, 2)
        rays = Scene.rays_of(focal, principal, size)

        depth = torch.full((count, size, size), torch.inf, device=self.device)
        skeletons, centres = [], []
        nearest: Scene | None = None
        for share, mirrored in ((0.92, False), (0.35, True)):
            vertices, landmarks, mass = hands.placed(count)
            if nearest is not None:
                # The other hand: beside the first, or anywhere.
                beside = nearest.mass + unit(hands.sampler.normal(count, 3)) * hands.sampler.uniform(
                    count, 110.0, 500.0, 1
                )
                beside[:, 2].clamp_(min=200.0)
                target = torch.where(hands.sampler.bernoulli(count, 0.6)[:, None], beside, mass)
                vertices, landmarks = (
                    (points - mass[:, None]) * points.new_tensor([-1.0, 1.0, 1.0]) + target[:, None]
                    for points in (vertices, landmarks)
                )
                mass = target
            there = hands.sampler.bernoulli(count, share)
            faces = hands.hand.faces.flip(1) if mirrored else hands.hand.faces
            scene = Scene(vertices, landmarks, mass, focal, principal)
            image = rasterize(vertices, faces, focal, principal, size)
            image = torch.minimum(image, hands.objects.upper_arm(scene, rays))
            body = self._torso(scene, rays)
            image = torch.where(hands.sampler.bernoulli(count, 0.5)[:, None, None], torch.minimum(image, body), image)
            depth = torch.where(there[:, None, None], torch.minimum(depth, image), depth)
            skeletons.append(torch.where(there[:, None, None], _along_bones(landmarks), torch.inf))
            centres.append(torch.where(there[:, None, None], mass[:, None], torch.inf).expand_as(skeletons[-1]))
            nearest = nearest or scene
        assert nearest is not None
        for share, draw in (
            (0.25, hands.objects.body),
            (0.22, hands.objects.table),
            (0.12, hands.objects.held_object),
            (0.6, self._wall),
            (0.4, self._wall),
            *[(0.3, self._thing)] * 8,
        ):
            images = hands.sampler.bernoulli(count, share).nonzero()[:, 0]
            if len(images):
                chosen = nearest.select(images)
                depth[images] = torch.minimum(depth[images], draw(chosen, rays[images]))
        depth = simulate_sensor(depth, nearest.mass[:, 2] / focal, hands.generator)[:, :height, :width]
        depth = torch.where(depth.isfinite() & self._in_view(count), depth, 0.0)
        return depth, torch.cat(skeletons, dim=1), torch.cat(centres, dim=1)

    def _in_view(self, count: int) -> Tensor:
        """Cameras of narrower views: (N, h, w) bool."""
        height, width = self.size
        share = self._hands.sampler.uniform(count, 0.6, 1.15, 2, 1, 1)
        v = (torch.arange(height, device=self.device) - (height - 1) / 2).abs()[:, None]
        u = (torch.arange(width, device=self.device) - (width - 1) / 2).abs()[None]
        return (u <= share[:, 0] * width / 2) & (v <= share[:, 1] * height / 2)

    def _torso(self, scene: Scene, rays: Tensor) -> Tensor:
        """Chest and head at the far end of the arm."""
        hands, count = self._hands, len(rays)
        elbow = scene.vertices[:, -1]
        shoulder = elbow + unit(elbow - scene.landmarks[:, 0]) * hands.sampler.uniform(count, 150.0, 350.0, 1)
        away = unit(hands.sampler.normal(count, 3) * shoulder.new_tensor([1.0, 0.6, 0.6]))
        chest = shoulder + 170.0 * away
        up = shoulder.new_tensor([0.0, -1.0, 0.0]) + 0.25 * hands.sampler.normal(count, 3)
        basis = orthonormal(unit(up))
        radii = torch.cat(
            [hands.sampler.uniform(count, 230.0, 340.0, 1), hands.sampler.uniform(count, 90.0, 200.0, 2)], dim=1
        )
        head = chest + unit(up) * (radii[:, :1] + 90.0)
        skull = hands.sampler.uniform(count, 0.8, 1.1, 1) * shoulder.new_tensor([120.0, 78.0, 92.0])
        return torch.minimum(ellipsoid(rays, chest, radii, basis), ellipsoid(rays, head, skull, basis))

    def _wall(self, scene: Scene, rays: Tensor) -> Tensor:
        """A wall, a floor or a desk behind the hand."""
        hands, count = self._hands, len(rays)
        normal = hands.sampler.normal(count, 3) * 0.8
        normal[:, 2] = normal[:, 2].abs() + 0.1
        normal = unit(normal)
        farthest = (hands.objects.fingers(scene) * normal[:, None]).sum(-1).amax(1)
        farthest = farthest + torch.exp(hands.sampler.uniform(count, math.log(20.0), math.log(2500.0)))
        slope = (rays * normal[:, None, None]).sum(-1)
        return torch.where(slope > 0.05, farthest[:, None, None] / slope, torch.inf)

    def _thing(self, scene: Scene, rays: Tensor) -> Tensor:
        """A ball, a stick, a box, a board: anywhere in view, of any size, mostly not before the hand."""
        hands, count = self._hands, len(rays)
        z = torch.exp(hands.sampler.uniform(count, math.log(200.0), math.log(3000.0)))
        ray = hands.sampler.uniform(count, -0.8, 0.8, 2)
        centre = torch.cat([ray, torch.ones_like(z)[:, None]], dim=1) * z[:, None]
        radii = torch.exp(hands.sampler.uniform(count, math.log(8.0), math.log(260.0), 3))
        # What would hide the hand stands behind it instead.
        hides = (centre - scene.mass).norm(dim=-1) < radii.amax(1) + 90.0
        hides |= (ray - scene.mass[:, :2] / scene.mass[:, 2:]).norm(dim=-1) * z < radii.amax(1) + 60.0
        behind = scene.mass[:, 2] + radii.amax(1) + hands.sampler.uniform(count, 40.0, 400.0)
        centre = torch.where((hides & (z < behind))[:, None], centre * (behind / z)[:, None], centre)
        basis = hands.sampler.rotations(count, _VIEWS.upright)
        boxes = hands.sampler.bernoulli(count, 0.5)[:, None, None]
        return torch.where(boxes, box(rays, centre, radii, basis), ellipsoid(rays, centre, radii, basis))


def _along_bones(landmarks: Tensor, places: int = 4) -> Tensor:
    """Points (N, P, 3) along the bones of hands with landmarks (N, L, 3), without the forearm."""
    chains = [(parent, bone) for bone, parent in enumerate(PARENTS) if parent >= 0 and bone != 1]
    chains += [(LANDMARKS.index(name.replace("_tip", "_3")), i) for i, name in enumerate(LANDMARKS) if "_tip" in name]
    near, far = torch.tensor(chains, device=landmarks.device).T
    share = torch.linspace(0.2, 1.0, places, device=landmarks.device)[:, None]
    return (landmarks[:, near, None] * (1.0 - share) + landmarks[:, far, None] * share).flatten(1, 2)


def hand_targets(points: Tensor, bones: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Which points are a hand's, and where its centre is from there.

    Args:
        points: (N, Q, 3) seen points, mm.
        bones: (N, P, 3) as from `Rooms.batch`.
        centres: (N, P, 3), likewise.

    Returns:
        (N, Q) bool, and (N, Q, 3) mm from each point to its hand's centre, 0 for the others.
    """
    distance, nearest = torch.cdist(points, bones.nan_to_num(posinf=1e6)).min(dim=2)
    ours = distance < _FLESH
    centre = centres.gather(1, nearest[..., None].expand(-1, -1, 3))
    return ours, torch.where(ours[..., None], centre - points, 0.0)
