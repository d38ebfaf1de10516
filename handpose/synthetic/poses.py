"""What hands do: an articulation prior, and a bank of poses drawn from it without self-penetration."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from handpose.io.atomic import write_atomically
from handpose.io.cache import cached
from handpose.synthetic.hand_file import default_hand_file
from handpose.synthetic.hand_model import HandModel
from handpose.synthetic.skeleton import BONES, FINGER_NAMES, LANDMARKS

_BONE = {name: i for i, name in enumerate(BONES)}
_LONG_FINGERS = FINGER_NAMES[1:]

# Degrees, human ranges of motion: flexion, abduction, twist. Bones that are not named do not move.
_LIMITS: dict[str, tuple[tuple[float, float], ...]] = {
    "forearm": ((-65.0, 65.0), (-25.0, 30.0), (-30.0, 30.0)),
    "index_metacarpal": ((-2.0, 3.0), (0.0, 0.0), (0.0, 0.0)),
    "ring_metacarpal": ((-3.0, 10.0), (0.0, 0.0), (0.0, 0.0)),
    "pinky_metacarpal": ((-4.0, 18.0), (0.0, 0.0), (0.0, 0.0)),
    "thumb_1": ((-30.0, 40.0), (-35.0, 30.0), (-25.0, 45.0)),
    "thumb_2": ((-15.0, 65.0), (-8.0, 8.0), (0.0, 0.0)),
    "thumb_3": ((-25.0, 85.0), (0.0, 0.0), (0.0, 0.0)),
    **{f"{finger}_1": ((-28.0, 92.0), (-18.0, 18.0), (-6.0, 6.0)) for finger in _LONG_FINGERS},
    **{f"{finger}_2": ((-6.0, 108.0), (0.0, 0.0), (0.0, 0.0)) for finger in _LONG_FINGERS},
    **{f"{finger}_3": ((-12.0, 80.0), (0.0, 0.0), (0.0, 0.0)) for finger in _LONG_FINGERS},
}

# (MCP, PIP) flexion of a finger in the states that gestures are made of.
_STATES = torch.tensor([[3.0, 6.0], [35.0, 45.0], [72.0, 92.0], [8.0, 88.0], [75.0, 12.0], [-10.0, 0.0]])
_STATE_SPREAD = torch.tensor([[10.0, 7.0], [18.0, 18.0], [12.0, 12.0], [14.0, 14.0], [12.0, 10.0], [7.0, 5.0]])
_STATE_SHARES = torch.tensor([0.44, 0.14, 0.26, 0.06, 0.05, 0.05])


def limits() -> tuple[Tensor, Tensor]:
    """Lowest and highest angles (B, 3), degrees."""
    bounds = torch.zeros(2, len(BONES), 3)
    for bone, ranges in _LIMITS.items():
        bounds[:, _BONE[bone]] = torch.tensor(ranges).T
    return bounds[0], bounds[1]


def draw_angles(count: int, generator: torch.Generator) -> Tensor:
    """Joint angles (count, B, 3) from the prior, degrees, before contacts are resolved.

    A third of the hands are gestures (each finger in a state of its own), a third bend all fingers
    together (rest, grasp, fist), a third mix the two; abduction shrinks as fingers bend; the last joint
    follows the middle one, as its tendon makes it.
    """

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    angles = torch.zeros(count, len(BONES), 3)
    state = torch.multinomial(_STATE_SHARES, count * 4, replacement=True, generator=generator).view(count, 4)
    gesture = _STATES[state] + normal(count, 4, 2) * _STATE_SPREAD[state]
    curl = (
        uniform(count, 1).pow(1.3) * 1.15
        - 0.08
        + normal(count, 4) * 0.09
        + torch.linspace(-0.08, 0.08, 4) * normal(count, 1)
    )
    balance = uniform(count, 1, 1) * 0.8 + 0.6  # some grasps bend at the knuckles, some at the middle joints
    together = torch.cat([80.0 * balance, 100.0 * (2.0 - balance)], dim=2) * curl[..., None] + 5.0 * normal(count, 4, 2)
    kind = uniform(count, 1, 1)
    blend = torch.where(kind < 1 / 3, 0.0, torch.where(kind < 2 / 3, 1.0, uniform(count, 1, 1)))
    fingers = torch.lerp(gesture, together, blend)
    spread = 9.0 * normal(count, 1) + 3.0
    for i, finger in enumerate(_LONG_FINGERS):
        mcp, pip = fingers[:, i, 0], fingers[:, i, 1]
        angles[:, _BONE[f"{finger}_1"], 0] = mcp
        angles[:, _BONE[f"{finger}_2"], 0] = pip
        angles[:, _BONE[f"{finger}_3"], 0] = 0.62 * pip.clamp(min=0.0) + 7.0 * normal(count)
        fan = spread[:, 0] * (1.2 - 0.8 * i) + 3.5 * normal(count)
        angles[:, _BONE[f"{finger}_1"], 1] = fan * (1.0 - mcp.clamp(0.0, 80.0) / 100.0)
        angles[:, _BONE[f"{finger}_1"], 2] = 2.0 * normal(count)
    closing = fingers[:, 2:, 0].mean(1).clamp(0.0, 90.0) / 90.0
    angles[:, _BONE["ring_metacarpal"], 0] = 5.0 * closing + 2.0 * normal(count)
    angles[:, _BONE["pinky_metacarpal"], 0] = 9.0 * closing + 4.0 * normal(count)
    for bone, (flexion, abduction, twist) in {
        "thumb_1": (15.0, 16.0, 15.0),
        "thumb_2": (18.0, 3.0, 0.0),
        "thumb_3": (24.0, 0.0, 0.0),
        "forearm": (22.0, 10.0, 10.0),
    }.items():
        angles[:, _BONE[bone]] = normal(count, 3) * torch.tensor([flexion, abduction, twist])
    angles[:, _BONE["thumb_2"], 0] += 16.0
    angles[:, _BONE["thumb_3"], 0] += 18.0
    return torch.clamp(angles, *limits())


def _spheres(hand: HandModel) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Spheres that fill the hand: two landmark ids, the place between them, radius [mm], and a finger's number."""
    ids, places, radii, owners = [], [], [], []
    segments: list[tuple[str, str, float, float, int]] = []
    for owner, finger in enumerate(FINGER_NAMES):
        thick = 1.15 if finger == "thumb" else (0.85 if finger == "pinky" else 1.0)
        chain = [*(f"{finger}_{s}" for s in (1, 2, 3)), f"{finger}_tip"]
        for near, far, r0, r1 in zip(chain, chain[1:], (9.5, 8.5, 7.5), (8.5, 7.5, 6.5), strict=False):
            if finger == "thumb" and near == "thumb_1":
                continue  # the ball of the thumb is part of the palm
            segments.append((near, far, r0 * thick, r1 * thick, owner))
        if finger != "thumb":
            segments.append((f"{finger}_metacarpal", f"{finger}_1", 11.0, 10.5, 5))
    for near, far, r0, r1, owner in segments:
        for place in (0.15, 0.5, 0.85):
            ids.append([LANDMARKS.index(near), LANDMARKS.index(far)])
            places.append(place)
            radii.append(r0 + (r1 - r0) * place)
            owners.append(owner)
    return torch.tensor(ids), torch.tensor(places), torch.tensor(radii), torch.tensor(owners)


def resolve_contacts(hand: HandModel, angles: Tensor, generator: torch.Generator, steps: int = 60) -> Tensor:
    """The poses (N, B, 3) nearest to `angles` whose fingers touch but do not enter each other or the palm.

    In two of five poses the thumb's tip is also drawn to another finger: pinch, OK, key grip, counting.
    """
    low, high = limits()
    ids, places, radii, owners = _spheres(hand)
    count = len(radii)
    first, second = torch.triu_indices(count, count, offset=1)
    apart = owners[first] != owners[second]
    # The knuckles' own spheres and the palm's overlap by construction.
    at_knuckle = (owners[first] != 5) & (owners[second] == 5) & (places[first] < 0.3)
    at_knuckle |= (owners[first] == 5) & (owners[second] != 5) & (places[second] < 0.3)
    first, second = first[apart & ~at_knuckle], second[apart & ~at_knuckle]
    reach = radii[first] + radii[second]

    rest = hand.mean[hand.vertices :].expand(len(angles), -1, -1)
    thumb_tip = LANDMARKS.index("thumb_tip")
    choice = torch.randint(8, (len(angles),), generator=generator)  # tips of four fingers, or middles of four
    goal = torch.tensor([LANDMARKS.index(f"{finger}_{part}") for part in ("tip", "3") for finger in _LONG_FINGERS])[
        choice
    ]
    wants = (torch.rand(len(angles), generator=generator) < 0.4).float()

    free = (high > low).float()
    start = angles.clone()
    angles = angles.clone().requires_grad_(True)
    optimiser = torch.optim.Adam([angles], lr=2.0)
    for _ in range(steps):
        landmarks = hand.landmarks(rest, angles)
        ends = landmarks[:, ids]  # (N, S, 2, 3)
        centres = torch.lerp(ends[:, :, 0], ends[:, :, 1], places[:, None])
        distance = (centres[:, first] - centres[:, second]).square().sum(-1).add(1e-6).sqrt()
        overlap = (0.95 * reach - distance).clamp(min=0.0).square().sum(1)
        tips = (landmarks[:, thumb_tip] - landmarks[torch.arange(len(goal)), goal]).norm(dim=-1)
        contact = wants * (tips - 14.0).clamp(min=0.0).square()
        stay = ((angles - start) / 12.0).square().sum((1, 2))
        optimiser.zero_grad()
        (overlap + 0.3 * contact + stay).sum().backward()
        assert angles.grad is not None
        angles.grad *= free
        optimiser.step()
        with torch.no_grad():
            angles.copy_(torch.clamp(angles, low, high))
    return angles.detach()


def pose_bank(hand: HandModel, count: int, seed: int, chunk: int = 512) -> Tensor:
    """`count` resolved poses (count, B, 3), degrees."""
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for start in range(0, count, chunk):
        angles = draw_angles(min(chunk, count - start), generator)
        parts.append(resolve_contacts(hand, angles, generator))
    return torch.cat(parts)


def cached_pose_bank(hand: HandModel, count: int = 12_000, seed: int = 0) -> Tensor:
    """The pose bank (count, B, 3) that training draws from, made once (minutes) and kept beside the hand."""
    path = default_hand_file().with_name(f"poses-{count}-{seed}.npy")

    def make() -> None:
        data = io.BytesIO()
        np.save(data, pose_bank(hand, count, seed).numpy().astype(np.float16))
        write_atomically(path, data.getvalue())

    def read(path: Path) -> Tensor:
        poses = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False).astype(np.float32)
        if poses.shape != (count, len(BONES), 3) or not np.isfinite(poses).all():
            raise ValueError(f"expected {count} poses of {len(BONES)} bones, got {poses.shape}")
        return torch.from_numpy(poses)

    return cached(path, make, read)
