"""Contacts between the fingers of a hand, and the optimization of poses so that they have these contacts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from handpose.synthetic.hand_model import HandModel
from handpose.synthetic.joint_limits import limits
from handpose.synthetic.skeleton import BONE_INDEX, FINGER_NAMES, LANDMARKS

_LONG_FINGERS = FINGER_NAMES[1:]


@dataclass(frozen=True)
class Contacts:
    """The desired contacts of N poses.

    Attributes:
        thumb: (N, L) weights of the landmarks whose mean is the target of the thumb's tip; all 0 for no target.
        offset: (N, 3) mm added to that mean, in the hand frame.
        near: (N,) distance from the target, mm, within which the tip touches it.
        gaps: (N, 3) distances between the axes of neighboring long fingers, mm; NaN for any distance.
    """

    thumb: Tensor
    offset: Tensor
    near: Tensor
    gaps: Tensor

    def thumb_loss(self, landmarks: Tensor) -> Tensor:
        """Return the squared distances (N,) of the thumbs' tips from touching their targets, mm^2.

        The argument `landmarks` is (N, L, 3) in mm.
        """
        target = torch.einsum("nl,nlc->nc", self.thumb, landmarks) + self.offset
        distance = (landmarks[:, LANDMARKS.index("thumb_tip")] - target).square().sum(-1).add(1e-9).sqrt()
        return self.thumb.sum(1) * (distance - self.near).clamp(min=0.0).square()

    def gap_loss(self, landmarks: Tensor) -> Tensor:
        """Return the squared deviations (N,) from the desired gaps, mm^2, given landmarks (N, L, 3) in mm."""
        parts = torch.tensor([[LANDMARKS.index(f"{f}_3"), LANDMARKS.index(f"{f}_tip")] for f in _LONG_FINGERS])
        fingers = landmarks[:, parts]  # (N, 4, 2, 3)
        gaps = (fingers[:, 1:] - fingers[:, :-1]).square().sum(-1).add(1e-6).sqrt().mean(2)
        return (self.gaps.isfinite() * (gaps - self.gaps.nan_to_num(0.0)).square()).sum(1)

    @classmethod
    def none(cls, count: int) -> Contacts:
        """Return `count` poses without desired contacts."""
        zeros = torch.zeros(count, 3)
        return cls(torch.zeros(count, len(LANDMARKS)), zeros, torch.full((count,), 3.0), zeros + torch.nan)


def draw_pinches(count: int, generator: torch.Generator) -> Contacts:
    """Sample contacts of the thumb with another finger, in 40% of the poses: pinches, OK, key grips, counting."""
    contacts = Contacts.none(count)
    choice = torch.randint(8, (count,), generator=generator)  # tips of four fingers, or middles of four
    targets = torch.tensor([LANDMARKS.index(f"{finger}_{part}") for part in ("tip", "3") for finger in _LONG_FINGERS])
    has_target = (torch.rand(count, generator=generator) < 0.4).float()
    contacts.thumb[torch.arange(count), targets[choice]] = has_target
    contacts.near.fill_(14.0)
    return contacts


def resolve_contacts(hand: HandModel, angles: Tensor, contacts: Contacts, *, wide: bool, steps: int = 60) -> Tensor:
    """Return the poses (N, B, 3) nearest to `angles` with the desired contacts and without self-penetration.

    Args:
        hand: Hand model, whose mean shape is used.
        angles: (N, B, 3) degrees.
        contacts: The desired contacts.
        wide: Whether to allow the maximum range of closed fingers and crossed thumbs, instead of the usual one.
        steps: Number of optimization steps.
    """
    low, high = limits(wide=wide)
    free = (high > low).float()
    spheres = _spheres()
    rest = hand.mean[hand.vertices :].expand(len(angles), -1, -1)
    start = torch.clamp(angles, low, high)
    angles = start.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([angles], lr=2.0)
    for _ in range(steps):
        landmarks = hand.landmarks(rest, angles)
        change = ((angles - start) / 12.0).square().sum((1, 2))
        loss = spheres.overlap(landmarks) + 0.3 * contacts.thumb_loss(landmarks) + 0.15 * contacts.gap_loss(landmarks)
        optimizer.zero_grad()
        (loss + change).sum().backward()  # type: ignore[no-untyped-call]
        assert angles.grad is not None
        angles.grad *= free
        optimizer.step()
        with torch.no_grad():
            angles.copy_(torch.clamp(angles, low, high))
    return angles.detach()


def draw_closings(angles: Tensor, generator: torch.Generator) -> Contacts:
    """Sample contacts of closed fingers: neighbors with similar flexion touch or have a gap, and thumbs cross the palm.

    Args:
        angles: (N, B, 3) degrees, from `draw_angles`.
        generator: Source of the random samples.
    """
    count = len(angles)
    contacts = Contacts.none(count)
    bends = torch.stack([angles[:, [BONE_INDEX[f"{finger}_{k}"] for k in (1, 2)], 0] for finger in _LONG_FINGERS], 1)
    similar = ((bends[:, 1:] - bends[:, :-1]).abs() < 35.0).all(2)  # (N, 3)
    touching = 16.5 + 2.0 * torch.rand(count, 3, generator=generator)
    apart = 17.0 + 26.0 * torch.rand(count, 3, generator=generator)
    kind = torch.rand(count, 1, generator=generator)
    pairs = torch.rand(count, 3, generator=generator) < 0.6
    gaps = torch.where(kind < 0.45, touching, torch.where((kind < 0.8) & pairs, touching, apart))
    contacts.gaps.copy_(torch.where(similar, gaps, torch.nan))
    parts = torch.tensor(
        [[LANDMARKS.index(f"{finger}_{part}") for part in ("1", "2", "3", "tip")] for finger in _LONG_FINGERS]
    )
    target = parts[torch.randint(4, (count,), generator=generator), torch.randint(4, (count,), generator=generator)]
    has_target = (torch.rand(count, generator=generator) < 0.55).float()
    contacts.thumb[torch.arange(count), target] = has_target
    # Across the palm, the target lies in front of the base of a finger, at the fold of its knuckle.
    base = (target[:, None] == parts[:, 0]).any(1)
    contacts.offset[base] = torch.tensor([-19.0, -6.0, 0.0])
    contacts.near.copy_(torch.where(base, 4.0, 14.0))
    return contacts


class _Spheres(NamedTuple):
    """Spheres that fill the fingers and the palm, and the pairs of them that must not overlap.

    Attributes:
        ends: (S, 2) the two landmarks that each sphere lies between.
        shares: (S,) position between them, from 0 to 1.
        first, second: (P,) indices of the spheres of each pair.
        reach: (P,) sum of the two radii, mm.
    """

    ends: Tensor
    shares: Tensor
    first: Tensor
    second: Tensor
    reach: Tensor

    def overlap(self, landmarks: Tensor) -> Tensor:
        """Return the squared overlaps (N,) of hands with landmarks (N, L, 3), mm^2."""
        ends = landmarks[:, self.ends]  # (N, S, 2, 3)
        centers = torch.lerp(ends[:, :, 0], ends[:, :, 1], self.shares[:, None])
        distance = (centers[:, self.first] - centers[:, self.second]).square().sum(-1).add(1e-6).sqrt()
        return (0.95 * self.reach - distance).clamp(min=0.0).square().sum(1)


_PALM = 5  # owner of the spheres of the palm; the fingers are 0 to 4


def _spheres() -> _Spheres:
    segments: list[tuple[str, str, float, float, int]] = []  # both ends, radii at these in mm, owner
    for owner, finger in enumerate(FINGER_NAMES):
        thick = 1.15 if finger == "thumb" else (0.85 if finger == "pinky" else 1.0)
        chain = [*(f"{finger}_{s}" for s in (1, 2, 3)), f"{finger}_tip"]
        for near, far, r0, r1 in zip(chain, chain[1:], (9.5, 8.5, 7.5), (8.5, 7.5, 6.5), strict=False):
            if finger == "thumb" and near == "thumb_1":
                continue  # the ball of the thumb is part of the palm
            segments.append((near, far, r0 * thick, r1 * thick, owner))
        if finger != "thumb":
            segments.append((f"{finger}_metacarpal", f"{finger}_1", 11.0, 10.5, _PALM))
    filled = [(segment, share) for segment in segments for share in (0.15, 0.5, 0.85)]
    ends = torch.tensor([[LANDMARKS.index(near), LANDMARKS.index(far)] for (near, far, *_), _ in filled])
    shares = torch.tensor([share for _, share in filled])
    radii = torch.tensor([r0 + (r1 - r0) * share for (_, _, r0, r1, _), share in filled])
    owners = torch.tensor([segment[4] for segment, _ in filled])

    first, second = torch.triu_indices(len(radii), len(radii), offset=1)
    distinct = owners[first] != owners[second]
    # The spheres at a knuckle and those of the palm overlap by construction.
    at_knuckle = (owners[first] != _PALM) & (owners[second] == _PALM) & (shares[first] < 0.3)
    at_knuckle |= (owners[first] == _PALM) & (owners[second] != _PALM) & (shares[second] < 0.3)
    first, second = first[distinct & ~at_knuckle], second[distinct & ~at_knuckle]
    return _Spheres(ends, shares, first, second, radii[first] + radii[second])
