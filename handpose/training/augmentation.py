"""Other views of a hand, made from one depth image: rotated, scaled and shifted, surface and joints together.

Only those moves are used that a single depth image determines exactly. A camera that turns about its own centre
sees the same surfaces, so the hand is rotated about the ray through its cube's centre. A scene that is scaled
about the camera's centre looks the same, larger things further away, so that is how the hand is scaled. And the
hand is shifted within its cube by moving the cube. Nothing has to be invented where one view hides what
another one shows, and depth values change with the labels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from handpose.geometry.camera import Camera
from handpose.geometry.crop import PATCH, HandCrop, check_cube, normalize_depth, patch_camera


@dataclass(frozen=True)
class Move:
    """A similarity: x - center becomes scale * R (x - center) + shift, seen from the moved cube's centre.

    Attributes:
        degrees: rotation about the ray through the cube's centre; positive turns clockwise in the image.
        scale: of the hand.
        shift: of the hand in its cube, camera axes, mm.
    """

    degrees: float = 0.0
    scale: float = 1.0
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def points(self, xyz: np.ndarray, center: np.ndarray) -> np.ndarray:
        """Where points `xyz` (..., 3) mm are afterwards, in the frame of the crop's camera.

        Args:
            xyz: camera frame, mm.
            center: (3,) of the cube before the move.
        """
        moved: np.ndarray = self.scale * (np.asarray(xyz, dtype=np.float64) @ self._rotation(center).T)
        return moved

    def center(self, center: np.ndarray) -> np.ndarray:
        """The cube's centre (3,) afterwards, mm."""
        moved: np.ndarray = self.scale * np.asarray(center, dtype=np.float64) - np.array(self.shift)
        return moved

    def cut(self, depth: np.ndarray, camera: Camera, center: np.ndarray, cube: float) -> HandCrop:
        """The crop after the move; without one, that of `HandCrop.cut`.

        Its joints are `crop.normalize(crop.camera.project(move.points(xyz, center)))`.

        Args:
            depth: (H, W) mm, 0 = no reading.
            camera: of `depth`.
            center: (3,) of the cube before the move, camera frame, mm.
            cube: side, mm.

        Raises:
            HandPoseError: the centre is not before the camera.
        """
        moved = check_cube(self.center(center), cube)
        camera = camera.for_image(depth.shape[1], depth.shape[0])
        view = patch_camera(camera, moved, cube)
        v, u = np.indices((PATCH, PATCH), dtype=np.float64)
        rays = np.stack([(u - view.cx) / view.fx, (v - view.cy) / view.fy, np.ones_like(u)], axis=-1)
        rays = rays @ self._rotation(center)  # each row times R: the inverse rotation, back to the real camera
        ahead = rays[..., 2] > 0
        along = np.where(ahead, rays[..., 2], 1.0)
        columns = np.floor(rays[..., 0] / along * camera.fx + camera.cx + 0.5)
        rows = np.floor(rays[..., 1] / along * camera.fy + camera.cy + 0.5)
        seen = ahead & (columns >= 0) & (columns < depth.shape[1]) & (rows >= 0) & (rows < depth.shape[0])
        z = np.zeros((PATCH, PATCH), np.float32)
        z[seen] = depth[rows[seen].astype(np.intp), columns[seen].astype(np.intp)]
        # The ray has length 1 along the moved camera's axis and `along` on the real one's.
        return HandCrop(normalize_depth(z * self.scale / along, moved[2], cube), view, moved, float(cube))

    def _rotation(self, center: np.ndarray) -> np.ndarray:
        """R (3, 3), about the ray through `center`."""
        x, y, z = np.asarray(center, dtype=np.float64) / np.linalg.norm(center)
        cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        angle = math.radians(self.degrees)
        rotation: np.ndarray = np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * (cross @ cross)
        return rotation


@dataclass(frozen=True)
class Augmentation:
    """The range of moves for training; by default the paper's, drawn evenly.

    Every crop is rotated, scaled and shifted; the original code picks one of the three, or none, for each.

    Attributes:
        degrees: largest rotation, either way.
        scale: smallest and largest.
        shift: largest along each axis, either way, mm.
    """

    degrees: float = 180.0
    scale: tuple[float, float] = (0.9, 1.1)
    shift: float = 10.0

    def draw(self, random: np.random.Generator) -> Move:
        """A move of these ranges."""
        x, y, z = random.uniform(-self.shift, self.shift, 3).tolist()
        return Move(
            float(random.uniform(-self.degrees, self.degrees)), float(random.uniform(*self.scale)), shift=(x, y, z)
        )
