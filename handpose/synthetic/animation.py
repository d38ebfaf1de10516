"""Synthetic hands in motion: frames for tracking, with their true joints."""

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
from handpose.synthetic.render import rasterize
from handpose.synthetic.sensor import simulate_sensor
from handpose.synthetic.shapes import ellipsoid, orthonormal, unit

CAMERA = Camera(241.4, 241.4, 159.5, 119.5, 320, 240)

_POSES, _POSES_SEED = 200, 777  # a small separate pose bank, generated in seconds
_MOVE_S, _HOLD_S = 0.7, 0.4  # duration of a movement between two poses, and of each pose
_LOCATION = (0.0, 0.0, 450.0)  # mm
_REACH = (90.0, 50.0, 90.0)  # maximum distance from this location along each axis, mm
_RIGHT_LOCATION, _RIGHT_REACH = (-110.0, 0.0, 500.0), (60.0, 50.0, 90.0)  # of the right one of two hands, mm
_TURN = (0.5, 0.5, 0.6)  # maximum rotation about each camera axis, rad
_PERIODS_S = (1.8, 6.0)
_SHOULDER = (-190.0, 230.0, 780.0)  # of the right arm, mm
_CHEST, _CHEST_RADII = (20.0, 330.0, 860.0), (240.0, 330.0, 130.0)  # mm


class AnimatedFrame(NamedTuple):
    """A frame with its true joints.

    Attributes:
        depth: (H, W) float32 in whole mm, 0 for missing pixels.
        xyz: (J, 3) true joints in the camera frame, mm; of two hands (2, J, 3), the right one first.
        time: Time since the first frame, s.
    """

    depth: np.ndarray
    xyz: np.ndarray
    time: float


def animate(
    layout: JointLayout, *, camera: Camera = CAMERA, fps: float = 30.0, seed: int = 0
) -> Iterator[AnimatedFrame]:
    """Yield endless frames of a right hand that moves from pose to pose, and turns, in front of a person.

    The fingers follow the minimum-jerk trajectories of human movements (Flash and Hogan 1985). The properties of the
    sensor are constant, with new noise in every frame.

    Args:
        layout: Joint layout.
        camera: Camera of the frames; its two focal lengths must be equal.
        fps: Frames per second.
        seed: Seed of all random samples; the same seed yields the same frames.

    Raises:
        HandPoseError: The hand model does not exist yet, and generating it requires the extra `train`.
    """
    for frame in _animate(layout, camera, fps, seed, hands=1):
        yield frame._replace(xyz=frame.xyz[0])


def animate_hands(
    layout: JointLayout, *, camera: Camera = CAMERA, fps: float = 30.0, seed: int = 0
) -> Iterator[AnimatedFrame]:
    """Yield endless frames of a person's right and left hand, which move independently and sometimes touch.

    The arguments and errors are those of `animate`.
    """
    return _animate(layout, camera, fps, seed, hands=2)


def _animate(layout: JointLayout, camera: Camera, fps: float, seed: int, *, hands: int) -> Iterator[AnimatedFrame]:
    """Yield frames of a right hand, or of a right and a left hand, which moves around the mirrored location."""
    location, reach = (_LOCATION, _REACH) if hands == 1 else (_RIGHT_LOCATION, _RIGHT_REACH)
    hand = HandModel(cached_hand_file())
    weights = joint_weights(layout)
    generator = torch.Generator().manual_seed(seed)
    facing = 1.0 if seed % 2 else -1.0
    motions = [_Motion(hand, generator, facing, location, reach) for _ in range(hands)]
    mirrors = torch.tensor([[1.0, 1.0, 1.0], [-1.0, 1.0, 1.0]])[:hands]
    focal, principal = torch.tensor([camera.fx]), torch.tensor([[camera.cx, camera.cy]])
    size = int(max(camera.width, camera.height))
    rays = Scene.rays_of(focal, principal, size)
    chest = ellipsoid(rays, torch.tensor([_CHEST]), torch.tensor([_CHEST_RADII]), torch.eye(3)[None])
    frame = 0
    while True:
        time = frame / fps
        depth, joints = chest, []
        for motion, mirror in zip(motions, mirrors, strict=True):
            vertices, landmarks = (points * mirror for points in motion(time))
            # A mirror image reverses the orientation of the faces.
            faces = hand.faces if mirror[0] > 0 else hand.faces.flip(1)
            arm = _upper_arm(rays, vertices[:, -1], torch.tensor([_SHOULDER]) * mirror)
            for surface in (arm, rasterize(vertices, faces, focal, principal, size)):
                depth = torch.minimum(depth, surface)
            joints.append((weights @ landmarks)[0])
        sensor = torch.Generator().manual_seed(seed)
        depth = simulate_sensor(depth, torch.tensor([location[2]]) / focal, generator, sensor)
        image = depth[0, : int(camera.height), : int(camera.width)].nan_to_num(posinf=0.0).round()
        yield AnimatedFrame(image.numpy(), torch.stack(joints).double().numpy(), time)
        frame += 1


class _Motion:
    """The hand at any time: vertices (1, V, 3) and landmarks (1, L, 3) in the camera frame, mm.

    Args:
        hand: The hand model.
        generator: Source of all random samples.
        facing: 1 turns the palm toward the camera and -1 turns the back of the hand.
        location: Location that the hand moves around, mm.
        reach: Maximum distance from this location along each axis, mm.
    """

    def __init__(
        self,
        hand: HandModel,
        generator: torch.Generator,
        facing: float,
        location: tuple[float, float, float],
        reach: tuple[float, float, float],
    ) -> None:
        self._hand = hand
        self._poses = cached_pose_bank(hand, _POSES, _POSES_SEED)
        self._shape = hand.draw_shapes(1, generator)
        self._order = torch.randperm(len(self._poses), generator=generator)
        self._curves = _Curves(6, generator)
        self._location, self._reach = torch.tensor(location), torch.tensor(reach)
        self._front = torch.tensor([[0.0, 0.0, facing], [0.0, -1.0, 0.0], [facing, 0.0, 0.0]])

    def __call__(self, time: float) -> tuple[Tensor, Tensor]:
        key, since = divmod(time, _MOVE_S + _HOLD_S)
        before, after = (self._poses[self._order[(int(key) + k) % len(self._order)]] for k in (0, 1))
        angles = torch.lerp(before, after, _minimum_jerk(since / _MOVE_S))
        vertices, landmarks = self._hand.pose(self._shape, angles[None])
        curves = self._curves(time)
        turn = _rotation(curves[3:] * torch.tensor(_TURN)) @ self._front
        location = self._location + curves[:3] * self._reach
        center = turn @ landmarks[0].mean(dim=0)
        vertices, landmarks = (points @ turn.T + location - center for points in (vertices, landmarks))
        return vertices, landmarks


def _upper_arm(rays: Tensor, elbow: Tensor, shoulder: Tensor) -> Tensor:
    """Return the depth (1, S, S) of an upper arm from the elbow (1, 3) to the shoulder (1, 3), mm."""
    half = torch.linalg.vector_norm(shoulder - elbow, dim=-1) / 2 + 30.0
    radius = torch.full_like(half, 55.0)
    basis = orthonormal(unit(shoulder - elbow))
    return ellipsoid(rays, (elbow + shoulder) / 2, torch.stack([half, radius, radius], dim=1), basis)


class _Curves:
    """Smooth random curves between -1 and 1, each the mean of two sine waves."""

    def __init__(self, count: int, generator: torch.Generator) -> None:
        low, high = _PERIODS_S
        self._periods = low + (high - low) * torch.rand(2, count, generator=generator)
        self._phases = 2 * math.pi * torch.rand(2, count, generator=generator)

    def __call__(self, time: float) -> Tensor:
        """Return the values (count,) at a time in s."""
        return torch.sin(2 * math.pi * time / self._periods + self._phases).mean(dim=0)


def _minimum_jerk(time: float) -> float:
    """Return the completed fraction of a movement after this fraction of its duration."""
    time = min(time, 1.0)
    return time**3 * (10.0 - 15.0 * time + 6.0 * time**2)


def _rotation(vector: Tensor) -> Tensor:
    """Return the rotation (3, 3) about `vector` (3,) by its length in rad."""
    x, y, z = vector.tolist()
    rotation: Tensor = torch.linalg.matrix_exp(torch.tensor([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]]))
    return rotation
