"""Hand poses: an articulation prior, and pose banks without self-penetration."""

from __future__ import annotations

import functools
import io
import itertools
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from handpose.io.atomic import write_atomically
from handpose.io.cache import cached
from handpose.io.progress import track
from handpose.synthetic.contacts import Contacts, draw_closings, draw_pinches, resolve_contacts
from handpose.synthetic.hand_file import default_hand_file
from handpose.synthetic.hand_model import HandModel
from handpose.synthetic.hand_shapes import SHAPES, draw_shapes
from handpose.synthetic.joint_limits import limits
from handpose.synthetic.skeleton import BONE_INDEX, BONES, FINGER_NAMES

_LONG_FINGERS = FINGER_NAMES[1:]

# (MCP, PIP) flexion in degrees of each finger state in a gesture.
_STATES = torch.tensor([[3.0, 6.0], [35.0, 45.0], [72.0, 92.0], [8.0, 88.0], [75.0, 12.0], [-10.0, 0.0]])
_STATE_SPREAD = torch.tensor([[10.0, 7.0], [18.0, 18.0], [12.0, 12.0], [14.0, 14.0], [12.0, 10.0], [7.0, 5.0]])
_STATE_SHARES = torch.tensor([0.44, 0.14, 0.26, 0.06, 0.05, 0.05])


def draw_angles(count: int, generator: torch.Generator) -> Tensor:
    """Draw joint angles (count, B, 3) in degrees from the prior, before contacts are resolved.

    A third of the hands are gestures (each finger has its own state), a third bend all fingers together (rest, grasp,
    fist), and a third mix the two. Abduction decreases as fingers bend. The DIP joint follows the PIP joint, because
    they share a tendon.
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
        angles[:, BONE_INDEX[f"{finger}_1"], 0] = mcp
        angles[:, BONE_INDEX[f"{finger}_2"], 0] = pip
        angles[:, BONE_INDEX[f"{finger}_3"], 0] = 0.62 * pip.clamp(min=0.0) + 7.0 * normal(count)
        fan = spread[:, 0] * (1.2 - 0.8 * i) + 3.5 * normal(count)
        angles[:, BONE_INDEX[f"{finger}_1"], 1] = fan * (1.0 - mcp.clamp(0.0, 80.0) / 100.0)
        angles[:, BONE_INDEX[f"{finger}_1"], 2] = 2.0 * normal(count)
    closing = fingers[:, 2:, 0].mean(1).clamp(0.0, 90.0) / 90.0
    angles[:, BONE_INDEX["ring_metacarpal"], 0] = 5.0 * closing + 2.0 * normal(count)
    angles[:, BONE_INDEX["pinky_metacarpal"], 0] = 9.0 * closing + 4.0 * normal(count)
    for bone, (flexion, abduction, twist) in {
        "thumb_1": (15.0, 16.0, 15.0),
        "thumb_2": (18.0, 3.0, 0.0),
        "thumb_3": (24.0, 0.0, 0.0),
        "forearm": (22.0, 10.0, 10.0),
    }.items():
        angles[:, BONE_INDEX[bone]] = normal(count, 3) * torch.tensor([flexion, abduction, twist])
    angles[:, BONE_INDEX["thumb_2"], 0] += 16.0
    angles[:, BONE_INDEX["thumb_3"], 0] += 18.0
    return torch.clamp(angles, *limits(wide=False))


def close_fists(angles: Tensor, generator: torch.Generator, share: float = 0.15) -> Tensor:
    """Return `angles` (N, B, 3) in degrees with a `share` of the hands clenched, loosely to tightly."""
    clenched = angles.clone()
    tightness = torch.rand(len(angles), 1, generator=generator)
    for segment, (loose, tight) in {"1": (50.0, 90.0), "2": (78.0, 110.0), "3": (40.0, 70.0)}.items():
        bend = loose + (tight - loose) * tightness + 6.0 * torch.randn(len(angles), 4, generator=generator)
        clenched[:, [BONE_INDEX[f"{finger}_{segment}"] for finger in _LONG_FINGERS], 0] = bend
    chosen = torch.rand(len(angles), 1, 1, generator=generator) < share
    return torch.where(chosen, clenched, angles)


Draw = Callable[[HandModel, int, torch.Generator], Tensor]
"""Draws N poses (N, B, 3) of a hand, in degrees."""


def pose_bank(hand: HandModel, count: int, seed: int) -> Tensor:
    """Return `count` poses (count, B, 3) of the prior in degrees, contacts resolved, for the test set."""
    return _in_chunks(_usual_poses, hand, count, seed)


def training_poses(hand: HandModel) -> Tensor:
    """Return the poses (33400, B, 3) in degrees that training draws from.

    A third come from the prior, a quarter have closed fingers, a quarter are named hand shapes, and the rest lie
    between two poses. `cached_pose_bank(hand)[:1000]` is held out for validation.
    """
    families: tuple[tuple[Draw, int, int, int], ...] = (  # count, seed, held out for validation
        (_usual_poses, 12_000, 0, 1000),
        (_closed_poses, 9_000, 11, 600),
        (_named_poses, 9_000, 12, 600),
        (_poses_between, 6_000, 13, 400),
    )
    return torch.cat([_in_chunks(draw, hand, count, seed)[held_out:] for draw, count, seed, held_out in families])


def _in_chunks(draw: Draw, hand: HandModel, count: int, seed: int, chunk: int = 512) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    starts = track(range(0, count, chunk), "generating poses", math.ceil(count / chunk))
    return torch.cat([draw(hand, min(chunk, count - start), generator) for start in starts])


def _usual_poses(hand: HandModel, count: int, generator: torch.Generator) -> Tensor:
    angles = draw_angles(count, generator)
    return resolve_contacts(hand, angles, draw_pinches(count, generator), wide=False)


def _closed_poses(hand: HandModel, count: int, generator: torch.Generator) -> Tensor:
    """Draw poses in which neighboring fingers touch, thumbs reach across the palm, and some hands are clenched."""
    angles = close_fists(draw_angles(count, generator), generator)
    return resolve_contacts(hand, angles, draw_closings(angles, generator), wide=True)


def _named_poses(hand: HandModel, count: int, generator: torch.Generator) -> Tensor:
    _, angles, contacts = draw_shapes(count, generator)
    return resolve_contacts(hand, angles, contacts, wide=True)


def _poses_between(hand: HandModel, count: int, generator: torch.Generator) -> Tensor:
    """Draw poses between a named shape and another one, or a pose of the prior."""
    named = _named_poses(hand, count, generator)
    usual = _usual_poses(hand, count, generator)
    to_usual = torch.rand(count, 1, 1, generator=generator) >= 0.5
    target = torch.where(to_usual, usual, named[torch.randperm(count, generator=generator)])
    share = 0.7 * torch.rand(count, 1, 1, generator=generator)
    return resolve_contacts(hand, torch.lerp(named, target, share), Contacts.none(count), wide=True, steps=30)


def cached_pose_bank(hand: HandModel, count: int = 12_000, seed: int = 0) -> Tensor:
    """Return `pose_bank`, created once (in minutes) and cached next to the hand."""
    return _cached(f"poses-{count}-{seed}.npy", count, lambda: pose_bank(hand, count, seed))


def cached_training_poses(hand: HandModel) -> Tensor:
    """Return `training_poses`, created once (in about five minutes) and cached next to the hand."""
    return _cached("poses-training-2.npy", 33_400, lambda: training_poses(hand))


def cached_named_poses(hand: HandModel, count: int, seed: int) -> tuple[list[str], Tensor]:
    """Return the names of `count` hand shapes in turn, and their poses (count, B, 3) in degrees, cached."""
    names = [name for name, _ in zip(itertools.cycle(SHAPES), range(count), strict=False)]
    make = functools.partial(_in_chunks, _named_poses, hand, count, seed, chunk=count)
    return names, _cached(f"poses-named-{count}-{seed}.npy", count, make)


def _cached(name: str, count: int, make_poses: Callable[[], Tensor]) -> Tensor:
    path = default_hand_file().with_name(name)

    def make() -> None:
        data = io.BytesIO()
        np.save(data, make_poses().numpy().astype(np.float16))
        write_atomically(path, data.getvalue())

    def read(path: Path) -> Tensor:
        poses = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False).astype(np.float32)
        if poses.shape != (count, len(BONES), 3) or not np.isfinite(poses).all():
            raise ValueError(f"expected {count} poses of {len(BONES)} bones, got {poses.shape}")
        return torch.from_numpy(poses)

    return cached(path, make, read)
