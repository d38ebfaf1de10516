"""One hand in motion before one camera: frames for tracking, with their true joints."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from handpose.geometry.camera import Camera
from handpose.geometry.layouts import JointLayout
from handpose.synthetic.annotation import joint_weights
from handpose.synthetic.hand_file import cached_hand_file
from handpose.synthetic.hand_model import HandModel
from handpose.synthetic.objects import Scene
from handpose.synthetic.poses import cached_pose_bank
from handpose.synthetic.render import rasterise
from handpose.synthetic.sensor import sense
from handpose.synthetic.shapes import ellipsoid, orthonormal, unit

CAMERA = Camera(241.4, 241.4, 159.5, 119.5, 320, 240)

_POSES, _POSES_SEED = 200, 777  # a small bank of its own, made in seconds; training draws from another
_MOVE, _HOLD = 0.7, 0.4  # s from one pose to the next, and in it
_PLACE = (0.0, 0.0, 450.0)  # mm
_REACH = (90.0, 50.0, 90.0)  # mm that the hand wanders from there
_TURN = (0.5, 0.5, 0.6)  # rad that it turns about the camera's axes
_PERIODS = (1.8, 6.0)  # s
_SHOULDER = (-190.0, 230.0, 780.0)  # mm
_CHEST, _CHEST_RADII = (20.0, 330.0, 860.0), (240.0, 330.0, 130.0)  # mm


class AnimatedFrame(NamedTuple):
    """What the camera sees at one moment, and the truth.

    Attributes:
        depth: (H, W) float32, whole mm, 0 = no reading.
        xyz: (J, 3) mm, camera frame.
        time: s since the first frame.
    """

    depth: np.ndarray
    xyz: np.ndarray
    time: float


def animate(
    layout: JointLayout, *, camera: Camera = CAMERA, fps: float = 30.0, seed: int = 0
) -> Iterator[AnimatedFrame]:
    """Endless frames of a right hand that goes from pose to pose while it wanders and turns before a person.

    Fingers follow the minimum-jerk course of human movements (Flash and Hogan 1985); the sensor has one character
    and fresh noise in every frame.

    Args:
        layout: whose joints to give.
        camera: whose images; its two focal lengths must agree.
        fps: frames per second.
        seed: of everything. The same seed gives the same frames.

    Raises:
        HandPoseError: the hand is not there yet, and making it needs the extra `train`.
    """
    hand = HandModel(cached_hand_file())
    poses = cached_pose_bank(hand, _POSES, _POSES_SEED)
    weights = joint_weights(layout)
    generator = torch.Generator().manual_seed(seed)
    shape = hand.draw_shapes(1, generator)
    order = torch.randperm(len(poses), generator=generator)
    wander = _Wander(6, generator)
    # Palm or back towards the camera, fingers up.
    facing = 1.0 if seed % 2 else -1.0
    front = torch.tensor([[0.0, 0.0, facing], [0.0, -1.0, 0.0], [facing, 0.0, 0.0]])
    focal, principal = torch.tensor([camera.fx]), torch.tensor([[camera.cx, camera.cy]])
    size = int(max(camera.width, camera.height))
    rays = Scene.rays_of(focal, principal, size)
    chest = ellipsoid(rays, torch.tensor([_CHEST]), torch.tensor([_CHEST_RADII]), torch.eye(3)[None])
    frame = 0
    while True:
        time = frame / fps
        key, since = divmod(time, _MOVE + _HOLD)
        before, after = (poses[order[(int(key) + k) % len(order)]] for k in (0, 1))
        vertices, landmarks = hand.pose(shape, torch.lerp(before, after, _minimum_jerk(since / _MOVE))[None])
        way = wander(time)
        turn = _rotation(way[3:] * torch.tensor(_TURN)) @ front
        place = torch.tensor(_PLACE) + way[:3] * torch.tensor(_REACH)
        middle = turn @ landmarks[0].mean(dim=0)
        vertices, landmarks = (points @ turn.T + place - middle for points in (vertices, landmarks))

        elbow, shoulder = vertices[:, -1], torch.tensor([_SHOULDER])
        half = torch.linalg.vector_norm(shoulder - elbow, dim=-1) / 2 + 30.0
        arm = ellipsoid(
            rays,
            (elbow + shoulder) / 2,
            torch.stack([half, torch.full_like(half, 55.0), torch.full_like(half, 55.0)], dim=1),
            orthonormal(unit(shoulder - elbow)),
        )
        depth = rasterise(vertices, hand.faces, focal, principal, size)
        depth = torch.minimum(depth, torch.minimum(arm, chest))
        character = torch.Generator().manual_seed(seed)
        depth = sense(depth, torch.tensor([_PLACE[2]]) / focal, generator, character)
        seen = depth[0, : int(camera.height), : int(camera.width)].nan_to_num(posinf=0.0).round()
        yield AnimatedFrame(seen.numpy(), (weights @ landmarks)[0].double().numpy(), time)
        frame += 1


class _Wander:
    """Smooth ways between -1 and 1: two waves each, of random periods."""

    def __init__(self, ways: int, generator: torch.Generator) -> None:
        low, high = _PERIODS
        self._periods = low + (high - low) * torch.rand(2, ways, generator=generator)
        self._phases = 2 * math.pi * torch.rand(2, ways, generator=generator)

    def __call__(self, time: float) -> Tensor:
        """Where the ways are, (ways,)."""
        return torch.sin(2 * math.pi * time / self._periods + self._phases).mean(dim=0)


def _minimum_jerk(share: float) -> float:
    """How much of the way is done after a share of a movement's time."""
    share = min(share, 1.0)
    return share**3 * (10.0 - 15.0 * share + 6.0 * share**2)


def _rotation(vector: Tensor) -> Tensor:
    """The rotation (3, 3) about `vector` (3,) by its length in rad."""
    x, y, z = vector.tolist()
    rotation: Tensor = torch.linalg.matrix_exp(torch.tensor([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]]))
    return rotation
