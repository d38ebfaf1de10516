"""Training images for the localizer: rooms with hands, people and objects, windows of these, and isolated hands."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from handpose.geometry.layouts import MSRA21
from handpose.localization.network import MARGIN
from handpose.synthetic.coarse_sensor import measure_coarsely
from handpose.synthetic.hand_model import HandModel
from handpose.synthetic.hands import SceneRange, SyntheticHands
from handpose.synthetic.objects import Scene
from handpose.synthetic.render import rasterize
from handpose.synthetic.room_objects import RoomObjects
from handpose.synthetic.shapes import Box, Ellipsoid, Plane, product_with_rays, unit
from handpose.synthetic.skeleton import LANDMARKS, PARENTS

_FLESH = 22.0  # mm: maximum distance of a point of the hand from its bones
_VIEWS = SceneRange(distance=(110.0, 2000.0), half_view=(0.58, 0.43), sleeve=0.5)
_FAR = (500.0, 2000.0)  # mm: distances of a quarter of the hands, sampled uniformly


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
        hand: The hand model; its device renders the images.
        poses: (P, B, 3) joint angles to sample from, degrees.
        focal: Focal length of the images, px.
        size: Height and width of the images, px.
        seed: Seed of all random samples.
    """

    def __init__(self, hand: HandModel, poses: Tensor, *, focal: float, size: tuple[int, int], seed: int = 0) -> None:
        self._hands = SyntheticHands(hand, poses, MSRA21, cube=250.0, uv_scale=95.0, scenes=_VIEWS, seed=seed)
        self.focal, self.size = focal, size
        self.device = hand.device
        self.generator = self._hands.generator
        self._things = RoomObjects(self._hands.objects, self._hands.sampler, size, _VIEWS.upright)

    def batch(self, count: int) -> Views:
        """Return `count` images: rooms, windows of rooms, and hands without their surroundings."""
        sample = self._hands.sampler
        focal = torch.full((count,), self.focal, device=self.device)
        windows, alone, cleaned = (sample.bernoulli(count, share) for share in (0.4, 0.25, 0.25))

        first = self._placed(count)
        principal = self._principal(first[2], windows)
        scene = Scene(*first, focal, principal)
        has_first = sample.bernoulli(count, 0.92)
        depth = self._rendered(scene, has_first.nonzero()[:, 0], mirrored=False)
        only = self._cut_off(scene, depth)

        other = self._second_hand(self._placed(count), scene.mass)
        second = Scene(*other, focal, principal)
        has_second = sample.bernoulli(count, 0.35)
        depth = torch.minimum(depth, self._rendered(second, has_second.nonzero()[:, 0], mirrored=True))
        self._add_surroundings(depth, scene, [(scene, has_first), (second, has_second)])
        depth = torch.where(alone[:, None, None], only, depth)
        depth = torch.where(cleaned[:, None, None], self._without_background(scene, depth), depth)
        depth = measure_coarsely(depth, scene.mass[:, 2] / self.focal, sample)
        visible = torch.where(windows[:, None, None], self._window(scene), self._in_view(count))
        depth = torch.where(depth.isfinite() & visible, depth, 0.0)

        bones, centers = [], []
        for owner, shown in ((scene, has_first), (second, has_second & ~alone)):
            bones.append(torch.where(shown[:, None, None], _along_bones(owner.landmarks), torch.inf))
            centers.append(torch.where(shown[:, None, None], owner.mass[:, None], torch.inf).expand_as(bones[-1]))
        views = Views(depth, principal, torch.cat(bones, dim=1), torch.cat(centers, dim=1))
        return self._half_mirrored(views)

    def _add_surroundings(self, depth: Tensor, scene: Scene, people: Sequence[tuple[Scene, Tensor]]) -> None:
        """Render arms, bodies, furniture and other objects into images.

        Args:
            depth: (N, h, w) mm, `inf` where there is no surface.
            scene: The first hands.
            people: Hands with arms, and the images (N,) that show them.
        """
        hands, sample, count = self._hands, self._hands.sampler, len(depth)
        rays = self._tangents(scene.principal)
        for owner, shown in people:
            self._add(depth, rays, shown.nonzero()[:, 0], hands.objects.upper_arm(owner))
            self._add(depth, rays, (shown & sample.bernoulli(count, 0.5)).nonzero()[:, 0], self._things.torso(owner))
        for share, shapes in (
            (0.25, hands.objects.body(scene)),
            (0.12, hands.objects.held_object(scene)),
            (0.22, hands.objects.table(scene)),
            (0.5, self._things.wall(scene, slant=0.2)),
            (0.4, self._things.wall(scene, slant=0.8)),
        ):
            self._add(depth, rays, sample.bernoulli(count, share).nonzero()[:, 0], shapes)
        for _ in range(4):
            thing = self._things.thing(scene)
            boxes = sample.bernoulli(count, 0.5)
            self._add(depth, rays, (boxes & sample.bernoulli(count, 0.6)).nonzero()[:, 0], [Box(*thing)])
            self._add(depth, rays, (~boxes & sample.bernoulli(count, 0.6)).nonzero()[:, 0], [Ellipsoid(*thing)])

    def _half_mirrored(self, views: Views) -> Views:
        """Return the images, half of them mirrored."""
        flipped = self._hands.sampler.bernoulli(len(views.depth), 0.5).view(-1, 1, 1)
        mirrored = mirrored_views(views)
        return Views(
            torch.where(flipped, mirrored.depth, views.depth),
            torch.where(flipped[..., 0], mirrored.principal, views.principal),
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

    def _second_hand(self, placed: tuple[Tensor, Tensor, Tensor], first: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the other hand, which is mirrored: next to the first one, or anywhere."""
        sample, count = self._hands.sampler, len(first)
        vertices, landmarks, mass = placed
        near = first + unit(sample.normal(count, 3)) * sample.uniform(count, 110.0, 500.0, 1)
        near[:, 2].clamp_(min=200.0)
        target = torch.where(sample.bernoulli(count, 0.6)[:, None], near, mass)
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

    def _rendered(self, scene: Scene, images: Tensor, *, mirrored: bool) -> Tensor:
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


def mirrored_views(views: Views) -> Views:
    """Mirror images, so that right hands become left hands."""
    mirror = views.bones.new_tensor([-1.0, 1.0, 1.0])
    width = views.depth.shape[2]
    principal = torch.stack([width - 1 - views.principal[:, 0], views.principal[:, 1]], dim=1)
    return Views(views.depth.flip(2), principal, views.bones * mirror, views.centers * mirror)


def _along_bones(landmarks: Tensor, points: int = 3) -> Tensor:
    """Return points (N, P, 3) along the bones of hands with landmarks (N, L, 3), without the forearm.

    There are `points` of them on each bone.
    """
    chains = [(parent, bone) for bone, parent in enumerate(PARENTS) if parent >= 0 and bone != 1]
    chains += [(LANDMARKS.index(name.replace("_tip", "_3")), i) for i, name in enumerate(LANDMARKS) if "_tip" in name]
    near, far = torch.tensor(chains, device=landmarks.device).T
    share = torch.linspace(0.2, 1.0, points, device=landmarks.device)[:, None]
    return (landmarks[:, near, None] * (1.0 - share) + landmarks[:, far, None] * share).flatten(1, 2)


def hand_targets(points: Tensor, views: Views) -> tuple[Tensor, Tensor]:
    """Return which points lie on a hand, and the offsets from these points to its center.

    Args:
        points: (N, Q, 3) visible points, mm.
        views: The images that contain the points.

    Returns:
        (N, Q) bool, and offsets (N, Q, 3) in mm, which are 0 for other points. z is the difference in depth; x and y
        start where the ray through the point reaches the depth of the center.
    """
    distance, nearest = torch.cdist(points, views.bones.nan_to_num(posinf=1e6, neginf=1e6)).min(dim=2)
    on_hand = distance < _FLESH
    center = views.centers.gather(1, nearest[..., None].expand(-1, -1, 3))
    on_ray = points * (center[..., 2:] / points[..., 2:].clamp(min=1.0))
    offsets = torch.cat([(center - on_ray)[..., :2], (center - points)[..., 2:]], dim=-1)
    return on_hand, torch.where(on_hand[..., None], offsets, 0.0)
