"""Training images for the localizer: rooms with hands, people and objects, windows of these, and isolated hands."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from handpose.geometry.layouts import MSRA21
from handpose.localization.network import MARGIN
from handpose.synthetic.hand_model import HandModel
from handpose.synthetic.hands import SceneRange, SyntheticHands
from handpose.synthetic.objects import Scene
from handpose.synthetic.render import rasterize
from handpose.synthetic.shapes import Box, Ellipsoid, Plane, orthonormal, product_with_rays, unit
from handpose.synthetic.skeleton import LANDMARKS, PARENTS

_FLESH = 22.0  # mm: maximum distance of a point of the hand from its bones
_VIEWS = SceneRange(distance=(110.0, 2000.0), half_view=(0.58, 0.43), sleeve=0.5)
_FAR = (500.0, 2000.0)  # mm: distances that a quarter of the hands is drawn from, uniformly


class Views(NamedTuple):
    """Coarse depth images, and the hands in them.

    Attributes:
        depth: (N, h, w) mm, 0 = missing.
        principal: (N, 2) px.
        bones: (N, P, 3) points along the bones of up to two hands, mm; `inf` where an image has fewer hands.
        centers: (N, P, 3) the center of the hand that each point belongs to, mm.
    """

    depth: Tensor
    principal: Tensor
    bones: Tensor
    centers: Tensor


class Rooms:
    """An endless source of coarse depth images with the positions of their hands.

    Args:
        hand: The hand model; its device renders.
        poses: (P, B, 3) joint angles to draw from, degrees.
        focal: focal length of the images, px.
        size: (height, width) of the images, px.
        seed: of everything.
    """

    def __init__(self, hand: HandModel, poses: Tensor, *, focal: float, size: tuple[int, int], seed: int = 0) -> None:
        self._hands = SyntheticHands(hand, poses, MSRA21, cube=250.0, uv_scale=95.0, scenes=_VIEWS, seed=seed)
        self.focal, self.size = focal, size
        self.device = hand.device
        self.generator = self._hands.generator

    def batch(self, count: int) -> Views:
        """Return `count` images: rooms, windows of rooms, and hands without their surroundings."""
        hands, sample = self._hands, self._hands.sampler
        focal = torch.full((count,), self.focal, device=self.device)
        windows, alone, cleaned = (sample.bernoulli(count, share) for share in (0.4, 0.25, 0.25))

        first = self._placed(count)
        principal = self._principal(first[2], windows)
        scene = Scene(*first, focal, principal)
        there = sample.bernoulli(count, 0.92)
        depth = self._drawn(scene, there.nonzero()[:, 0], mirrored=False)
        only = self._cut_off(scene, depth)

        other = self._beside(self._placed(count), scene.mass)
        second = Scene(*other, focal, principal)
        there_too = sample.bernoulli(count, 0.35)
        depth = torch.minimum(depth, self._drawn(second, there_too.nonzero()[:, 0], mirrored=True))

        rays = self._tangents(principal)
        for owner, shown in ((scene, there), (second, there_too)):
            self._add(depth, rays, shown.nonzero()[:, 0], hands.objects.upper_arm(owner))
            self._add(depth, rays, (shown & sample.bernoulli(count, 0.5)).nonzero()[:, 0], self._torso(owner))
        for share, shapes in (
            (0.25, hands.objects.body(scene)),
            (0.12, hands.objects.held_object(scene)),
            (0.22, hands.objects.table(scene)),
            (0.5, self._wall(scene, slant=0.2)),
            (0.4, self._wall(scene, slant=0.8)),
        ):
            self._add(depth, rays, sample.bernoulli(count, share).nonzero()[:, 0], shapes)
        for _ in range(4):
            place = self._thing(scene)
            boxes = sample.bernoulli(count, 0.5)
            self._add(depth, rays, (boxes & sample.bernoulli(count, 0.6)).nonzero()[:, 0], [Box(*place)])
            self._add(depth, rays, (~boxes & sample.bernoulli(count, 0.6)).nonzero()[:, 0], [Ellipsoid(*place)])

        depth = torch.where(alone[:, None, None], only, depth)
        depth = torch.where(cleaned[:, None, None], self._without_background(scene, depth), depth)
        depth = self._sensed(depth, scene.mass[:, 2] / self.focal)
        seen = torch.where(windows[:, None, None], self._window(scene), self._in_view(count))
        depth = torch.where(depth.isfinite() & seen, depth, 0.0)

        bones, centers = [], []
        for owner, shown in ((scene, there), (second, there_too & ~alone)):
            bones.append(torch.where(shown[:, None, None], _along_bones(owner.landmarks), torch.inf))
            centers.append(torch.where(shown[:, None, None], owner.mass[:, None], torch.inf).expand_as(bones[-1]))
        views = Views(depth, principal, torch.cat(bones, dim=1), torch.cat(centers, dim=1))
        flipped = sample.bernoulli(count, 0.5).view(-1, 1, 1)
        mirrored = mirrored_views(views)
        return Views(
            torch.where(flipped, mirrored.depth, depth),
            torch.where(flipped[..., 0], mirrored.principal, principal),
            torch.where(flipped, mirrored.bones, views.bones),
            torch.where(flipped, mirrored.centers, views.centers),
        )

    def _placed(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return vertices, landmarks and centers of mass of hands, a quarter of them uniformly from far distances."""
        hands, sample = self._hands, self._hands.sampler
        vertices, landmarks, mass = hands.placed(count)
        far = sample.uniform(count, *_FAR)
        z = torch.where(sample.bernoulli(count, 0.25), far, mass[:, 2])
        shift = mass * (z / mass[:, 2] - 1.0)[:, None]
        return vertices + shift[:, None], landmarks + shift[:, None], mass + shift

    def _beside(self, placed: tuple[Tensor, Tensor, Tensor], first: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the other hand, which is mirrored: next to the first one, or anywhere."""
        sample, count = self._hands.sampler, len(first)
        vertices, landmarks, mass = placed
        beside = first + unit(sample.normal(count, 3)) * sample.uniform(count, 110.0, 500.0, 1)
        beside[:, 2].clamp_(min=200.0)
        target = torch.where(sample.bernoulli(count, 0.6)[:, None], beside, mass)
        mirror = mass.new_tensor([-1.0, 1.0, 1.0])
        vertices, landmarks = ((p - mass[:, None]) * mirror + target[:, None] for p in (vertices, landmarks))
        return vertices, landmarks, target

    def _principal(self, mass: Tensor, windows: Tensor) -> Tensor:
        """Return principal points (N, 2) near the middle of the images; in windows, the hand is in the middle."""
        sample, count, (height, width) = self._hands.sampler, len(mass), self.size
        middle = mass.new_tensor([(width - 1) / 2, (height - 1) / 2])
        near = middle + 3.0 * sample.normal(count, 2)
        hand = middle + sample.uniform(count, -8.0, 8.0, 2) - self.focal * mass[:, :2] / mass[:, 2:]
        return torch.where(windows[:, None], hand, near)

    def _drawn(self, scene: Scene, images: Tensor, *, mirrored: bool) -> Tensor:
        """Return the depth (N, h, w) of the hands of these images, `inf` elsewhere."""
        hands, (height, width) = self._hands, self.size
        faces = hands.hand.faces.flip(1) if mirrored else hands.hand.faces
        size = max(height, width)
        vertices, focal, principal = (field[images] for field in (scene.vertices, scene.focal, scene.principal))
        depth = rasterize(vertices, faces, focal, principal, size, images, len(scene.mass))
        return depth[:, :height, :width]

    def _cut_off(self, scene: Scene, depth: Tensor) -> Tensor:
        """Return the depth (N, h, w) of hands whose forearms are cut off at a random length."""
        hands, sample, count = self._hands, self._hands.sampler, len(depth)
        wrist = scene.landmarks[:, 0]
        axis = unit(scene.vertices[:, hands.hand.is_forearm].mean(1) - wrist)
        end = torch.where(
            sample.bernoulli(count, 0.7), sample.uniform(count, -12.0, 120.0), wrist.new_full((count,), 1e4)
        )
        x, y = self._tangents(scene.principal)
        along = depth * product_with_rays(x, y, axis) - (wrist * axis).sum(-1)[:, None, None]
        return torch.where(along < end[:, None, None], depth, torch.inf)

    def _without_background(self, scene: Scene, depth: Tensor) -> Tensor:
        """Remove the background behind the hand and, in some images, everything outside a cube around the hand."""
        hands, sample, count = self._hands, self._hands.sampler, len(depth)
        farthest = hands.objects.fingers(scene)[..., 2].amax(1) + torch.exp(
            sample.uniform(count, math.log(10), math.log(300))
        )
        depth = torch.where(depth < farthest[:, None, None], depth, torch.inf)
        half = torch.where(sample.bernoulli(count, 0.4), sample.uniform(count, 85.0, 200.0), farthest.new_tensor(1e5))
        x, y = self._tangents(scene.principal)
        mass, half = scene.mass[..., None, None], half[:, None, None]
        within = (depth - mass[:, 2]).abs() < half
        within &= (depth * x[:, None] - mass[:, 0]).abs() < half
        within &= (depth * y[..., None] - mass[:, 1]).abs() < half
        return torch.where(within, depth, torch.inf)

    def _tangents(self, principal: Tensor) -> tuple[Tensor, Tensor]:
        """Return the tangents (N, w) of the rays of the columns and (N, h) of the rays of the rows."""
        height, width = self.size
        columns, rows = (torch.arange(length, device=self.device) for length in (width, height))
        return (columns - principal[:, :1]) / self.focal, (rows - principal[:, 1:]) / self.focal

    def _add(
        self, depth: Tensor, rays: tuple[Tensor, Tensor], images: Tensor, shapes: Iterable[Ellipsoid | Box | Plane]
    ) -> None:
        """Render shapes into the images `images` (M,) of `depth` (N, h, w)."""
        if len(images):
            x, y = (tangents[images] for tangents in rays)
            for shape in shapes:
                chosen = type(shape)(*(field[images] for field in shape))
                depth[images] = torch.minimum(depth[images], chosen.coarse_depth(x, y))

    def _window(self, scene: Scene) -> Tensor:
        """Return masks (N, h, w) of windows around the first hand, from tight ones that cut it off to wide ones."""
        sample, count, (height, width) = self._hands.sampler, len(scene.mass), self.size
        z = scene.landmarks[..., 2:].clamp(min=20.0)
        pixels = scene.landmarks[..., :2] / z * self.focal + scene.principal[:, None]
        flesh = 9.0 * self.focal / scene.mass[:, 2:]
        low, high = pixels.amin(1) - flesh, pixels.amax(1) + flesh
        kind = sample.uniform(count, 0.0, 1.0, 1)
        wide = sample.uniform(count, 0.0, 0.6, 4) * (high - low).amax(1, keepdim=True)
        cutting = sample.uniform(count, -0.2, 0.2, 4) * torch.cat([high - low, high - low], 1)
        margin = torch.where(kind < 0.35, 1.0 * sample.normal(count, 4), torch.where(kind < 0.8, wide, cutting))
        low, high = low - margin[:, :2], high + margin[:, 2:]
        v, u = torch.arange(height, device=self.device)[:, None], torch.arange(width, device=self.device)[None]
        low, high = low[..., None, None], high[..., None, None]
        inside = (u >= low[:, 0]) & (u <= high[:, 0]) & (v >= low[:, 1]) & (v <= high[:, 1])
        return inside & (u >= MARGIN) & (u < width - MARGIN) & (v >= MARGIN) & (v < height - MARGIN)

    def _in_view(self, count: int) -> Tensor:
        """Return masks (N, h, w) of the fields of view of wide-angle and narrow cameras."""
        height, width = self.size
        share = self._hands.sampler.uniform(count, 0.5, 1.05, 2, 1, 1)
        share[:, 0].clamp_(max=1.0 - 2 * MARGIN / width)
        share[:, 1].clamp_(max=1.0 - 2 * MARGIN / height)
        v = (torch.arange(height, device=self.device) - (height - 1) / 2).abs()[:, None]
        u = (torch.arange(width, device=self.device) - (width - 1) / 2).abs()[None]
        return (u <= share[:, 0] * width / 2) & (v <= share[:, 1] * height / 2)

    def _sensed(self, depth: Tensor, pixel_mm: Tensor) -> Tensor:
        """Return the depth (N, h, w) that sensors measure at this resolution, `inf` for missing pixels.

        Noise within a surface matters little here; coarse sensors, ragged silhouettes, pixels between two surfaces
        and missing ones matter more.
        """
        sample, (count, height, width) = self._hands.sampler, depth.shape

        def uniform(low: float, high: float) -> Tensor:
            return sample.uniform(count, low, high, 1, 1)

        def sometimes(share: float, value: Tensor) -> Tensor:
            return value * sample.bernoulli(count, share)[:, None, None]

        def chance() -> Tensor:
            return sample.uniform(count, 0.0, 1.0, height, width)

        # Sensors with fewer pixels than the image, whose matching windows shift silhouettes by a pixel.
        ratio = 1.0 + sometimes(0.3, uniform(0.0, 1.2))
        rows, columns = (torch.arange(length, device=self.device, dtype=depth.dtype) for length in (height, width))
        ragged = sometimes(0.5, uniform(0.1, 0.6))
        row, column = (
            (((index / ratio).floor() + 0.5) * ratio - 0.5 + ragged * sample.normal(count, height, width))
            .round()
            .long()
            .clamp(0, length - 1)
            for index, length in ((rows[:, None], height), (columns[None], width))
        )
        depth = depth.flatten(1).gather(1, (row * width + column).flatten(1)).view_as(depth)

        filled = depth.nan_to_num(posinf=5000.0)
        neighbor = torch.where(chance() < 0.5, filled.roll(1, 2), filled.roll(-1, 1))
        edge = (neighbor - filled).abs() > 6.0 * pixel_mm[:, None, None].clamp(min=3.0)
        flying = sometimes(0.35, uniform(0.05, 0.4))
        mixed = torch.lerp(filled, torch.minimum(neighbor, filled + 250.0), chance())
        depth = torch.where(edge & (chance() < flying) & depth.isfinite(), mixed, depth)

        meters = filled.clamp(max=2000.0) / 1000.0
        depth = depth + (uniform(0.2, 2.0) + uniform(0.0, 6.0) * meters.square()) * sample.normal(count, height, width)
        step = torch.exp(uniform(-2.5, 1.4)) * meters.square().clamp(min=0.3)
        depth = (depth / step).round() * step

        lost = edge & (chance() < sometimes(0.5, uniform(0.0, 0.6)))
        lost |= chance() < sometimes(0.4, uniform(0.0, 0.05)) + sometimes(0.12, uniform(0.0, 0.6))
        patches = F.interpolate(sample.normal(count, 1, 9, 12), (height, width), mode="bilinear")[:, 0]
        lost |= patches > torch.where(sample.bernoulli(count, 0.15)[:, None, None], uniform(1.3, 2.4), 1e9)
        # The projector's shadow: pixels behind an edge, on one side of it, are missing.
        lost |= sample.bernoulli(count, 0.3)[:, None, None] & (filled > filled.roll(2, 2) + 25.0)
        # Depth that was registered to a finer grid, where every second row or column is missing.
        for index in (rows[:, None], columns[None]):
            lost |= sample.bernoulli(count, 0.025)[:, None, None] & (index % 2.0 != 0)
        return torch.where(lost, torch.inf, depth)

    def _torso(self, scene: Scene) -> list[Ellipsoid]:
        """Return a chest and a head at the end of the arm."""
        sample, count = self._hands.sampler, len(scene.mass)
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

    def _wall(self, scene: Scene, *, slant: float) -> list[Plane]:
        """Return a wall, a floor or a desk behind the hand, often within reach of the arm."""
        hands, sample, count = self._hands, self._hands.sampler, len(scene.mass)
        normal = sample.normal(count, 3) * slant
        normal[:, 2] = normal[:, 2].abs() + 0.9 - slant
        normal = unit(normal)
        farthest = (hands.objects.fingers(scene) * normal[:, None]).sum(-1).amax(1)
        anywhere = torch.exp(sample.uniform(count, math.log(20.0), math.log(2500.0)))
        within_reach = sample.uniform(count, 150.0, 1100.0)
        return [Plane(normal, farthest + torch.where(sample.bernoulli(count, 0.5), within_reach, anywhere))]

    def _thing(self, scene: Scene) -> tuple[Tensor, Tensor, Tensor]:
        """Return center, half sides and axes of a ball, stick, box or board of any size, anywhere in the image.

        Objects that would hide the hand are moved behind it.
        """
        sample, count, (height, width) = self._hands.sampler, len(scene.mass), self.size
        z = torch.exp(sample.uniform(count, math.log(200.0), math.log(3000.0)))
        middle = (scene.mass.new_tensor([width, height]) / 2 - scene.principal) / self.focal
        ray = middle + sample.uniform(count, -0.8, 0.8, 2)
        center = torch.cat([ray, torch.ones_like(z)[:, None]], dim=1) * z[:, None]
        radii = torch.exp(sample.uniform(count, math.log(8.0), math.log(260.0), 3))
        # Move objects that would hide the hand behind it.
        hides = (center - scene.mass).norm(dim=-1) < radii.amax(1) + 90.0
        hides |= (ray - scene.mass[:, :2] / scene.mass[:, 2:]).norm(dim=-1) * z < radii.amax(1) + 60.0
        behind = scene.mass[:, 2] + radii.amax(1) + sample.uniform(count, 40.0, 400.0)
        center = torch.where((hides & (z < behind))[:, None], center * (behind / z)[:, None], center)
        return center, radii, sample.rotations(count, _VIEWS.upright)


def mirrored_views(views: Views) -> Views:
    """Mirror images, so that right hands become left hands."""
    mirror = views.bones.new_tensor([-1.0, 1.0, 1.0])
    width = views.depth.shape[2]
    principal = torch.stack([width - 1 - views.principal[:, 0], views.principal[:, 1]], dim=1)
    return Views(views.depth.flip(2), principal, views.bones * mirror, views.centers * mirror)


def _along_bones(landmarks: Tensor, places: int = 3) -> Tensor:
    """Points (N, P, 3) along the bones of hands with landmarks (N, L, 3), without the forearm."""
    chains = [(parent, bone) for bone, parent in enumerate(PARENTS) if parent >= 0 and bone != 1]
    chains += [(LANDMARKS.index(name.replace("_tip", "_3")), i) for i, name in enumerate(LANDMARKS) if "_tip" in name]
    near, far = torch.tensor(chains, device=landmarks.device).T
    share = torch.linspace(0.2, 1.0, places, device=landmarks.device)[:, None]
    return (landmarks[:, near, None] * (1.0 - share) + landmarks[:, far, None] * share).flatten(1, 2)


def hand_targets(points: Tensor, views: Views) -> tuple[Tensor, Tensor]:
    """Which points are a hand's, and where its center is from there.

    Args:
        points: (N, Q, 3) visible points, mm.
        views: the images they are from.

    Returns:
        (N, Q) bool, and (N, Q, 3) mm to the hand's center, 0 for other points: z along the point's ray, x and y
        across the image from there.
    """
    distance, nearest = torch.cdist(points, views.bones.nan_to_num(posinf=1e6, neginf=1e6)).min(dim=2)
    ours = distance < _FLESH
    center = views.centers.gather(1, nearest[..., None].expand(-1, -1, 3))
    on_ray = points * (center[..., 2:] / points[..., 2:].clamp(min=1.0))
    offsets = torch.cat([(center - on_ray)[..., :2], (center - points)[..., 2:]], dim=-1)
    return ours, torch.where(ours[..., None], offsets, 0.0)
