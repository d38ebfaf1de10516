"""Augmentation of depth crops: the hand's surface and joints are rotated, scaled and shifted together.

Only transformations that a single depth image determines exactly are used. A camera that rotates about its own center
sees the same surfaces, so the hand is rotated about the ray through the center of its cube. A scene that is scaled
about the camera center looks the same, with larger objects farther away, so the hand is scaled this way. The hand is
shifted within its cube by moving the cube. No hidden surfaces have to be filled in, and depth values change
consistently with the labels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from handpose.geometry.camera import Camera
from handpose.geometry.crop import PATCH, HandCrop, check_cube, normalize_depth, patch_camera
from handpose.geometry.rectification import rectify


@dataclass(frozen=True)
class Move:
    """A similarity transformation: x - center becomes scale * R (x - center) + shift, relative to the moved cube.

    Attributes:
        degrees: Rotation about the ray through the center of the cube; positive is clockwise in the image.
        scale: Scale of the hand.
        shift: Shift of the hand in its cube along the camera axes, mm.
    """

    degrees: float = 0.0
    scale: float = 1.0
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def points(self, xyz: np.ndarray, center: np.ndarray) -> np.ndarray:
        """Return the moved points (..., 3) in the frame of the crop's camera, mm.

        Args:
            xyz: Points (..., 3), camera frame, mm.
            center: Center (3,) of the cube before the move, mm.
        """
        moved: np.ndarray = self.scale * (np.asarray(xyz, dtype=np.float64) @ self._rotation(center).T)
        return moved

    def points_back(self, xyz: np.ndarray, center: np.ndarray) -> np.ndarray:
        """Return the points (..., 3) that were moved to `xyz`, in mm: the inverse of `points`."""
        original: np.ndarray = np.asarray(xyz, dtype=np.float64) @ self._rotation(center) / self.scale
        return original

    def center(self, center: np.ndarray) -> np.ndarray:
        """Return the center (3,) of the moved cube, mm."""
        moved: np.ndarray = self.scale * np.asarray(center, dtype=np.float64) - np.array(self.shift)
        return moved

    def cut(self, depth: np.ndarray, camera: Camera, center: np.ndarray, cube: float) -> HandCrop:
        """Return the moved crop; the identity returns that of `HandCrop.cut`.

        Its normalized joints are `crop.normalize(crop.camera.project(move.points(xyz, center)))`.

        Args:
            depth: Depth image (H, W), mm, 0 for missing pixels.
            camera: Camera of the depth image.
            center: Center (3,) of the cube before the move, camera frame, mm.
            cube: Side of the cube, mm.

        Raises:
            HandPoseError: The center is not in front of the camera, or the camera does not fit the image.
        """
        moved = check_cube(self.center(center), cube)
        depth, camera = rectify(depth, camera.for_image(depth.shape[1], depth.shape[0]))
        view = patch_camera(camera, moved, cube)
        v, u = np.indices((PATCH, PATCH), dtype=np.float64)
        rays = np.stack([(u - view.cx) / view.fx, (v - view.cy) / view.fy, np.ones_like(u)], axis=-1)
        rays = rays @ self._rotation(center)  # each row times R: the inverse rotation, back to the real camera
        in_front = rays[..., 2] > 0
        along = np.where(in_front, rays[..., 2], 1.0)
        columns = np.floor(rays[..., 0] / along * camera.fx + camera.cx + 0.5)
        rows = np.floor(rays[..., 1] / along * camera.fy + camera.cy + 0.5)
        visible = in_front & (columns >= 0) & (columns < depth.shape[1]) & (rows >= 0) & (rows < depth.shape[0])
        z = np.zeros((PATCH, PATCH), np.float32)
        z[visible] = depth[rows[visible].astype(np.intp), columns[visible].astype(np.intp)]
        # The ray has length 1 along the axis of the moved camera, and `along` along that of the real camera.
        return HandCrop(normalize_depth(z * self.scale / along, moved[2], cube), view, moved, float(cube))

    def _rotation(self, center: np.ndarray) -> np.ndarray:
        """Return the rotation R (3, 3) about the ray through `center`."""
        x, y, z = np.asarray(center, dtype=np.float64) / np.linalg.norm(center)
        cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        angle = math.radians(self.degrees)
        rotation: np.ndarray = np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * (cross @ cross)
        return rotation


@dataclass(frozen=True)
class Augmentation:
    """Ranges that the moves of training crops are sampled from, uniformly; the defaults are those of the paper.

    Every crop is rotated, scaled and shifted; the original code applies at most one of the three to each crop.

    Attributes:
        degrees: Maximum rotation, in both directions.
        scale: Minimum and maximum scale.
        shift: Maximum shift along each axis, in both directions, mm.
    """

    degrees: float = 180.0
    scale: tuple[float, float] = (0.9, 1.1)
    shift: float = 10.0

    def sample(self, random: np.random.Generator) -> Move:
        """Return a random move."""
        x, y, z = random.uniform(-self.shift, self.shift, 3).tolist()
        return Move(
            float(random.uniform(-self.degrees, self.degrees)), float(random.uniform(*self.scale)), shift=(x, y, z)
        )
