"""The network's view of a hand: a metric cube cut out of a depth image, which is itself a camera's image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from handpose.errors import HandPoseError
from handpose.geometry.camera import Camera
from handpose.geometry.sampling import sample_depth

PATCH = 96
"""Side of a patch, px."""

_STEPS = np.arange(float(PATCH))
_NEAREST, _FARTHEST = 1.0, 1e6  # mm, and px, beyond which no centre is meant


@dataclass(frozen=True, eq=False)
class HandCrop:
    """A cube around a hand, resampled to a patch.

    Attributes:
        patch: (96, 96) float32: -1 at the cube's near face, +1 at its far face, behind it and without reading.
            Whatever stands before the cube is clamped to -1.
        camera: the pinhole camera whose image the patch is (before mirroring).
        center: (3,) the cube's centre, camera frame, mm.
        cube: the cube's side, mm.
        mirrored: the patch is flipped left to right, so that a left hand looks like a right one.
    """

    patch: np.ndarray
    camera: Camera
    center: np.ndarray
    cube: float
    mirrored: bool = False

    @classmethod
    def cut(
        cls, depth: np.ndarray, camera: Camera, center: np.ndarray, cube: float, *, mirror: bool = False
    ) -> HandCrop:
        """The crop of `cube` mm around `center`.

        Args:
            depth: (H, W) mm, 0 = no reading.
            camera: of `depth`.
            center: (3,) camera frame, mm.
            cube: side, mm.
            mirror: flip the patch, for left hands.

        Raises:
            HandPoseError: the centre is not a point before the camera.
        """
        center = check_cube(center, cube)
        camera = camera.for_image(depth.shape[1], depth.shape[0])
        view = patch_camera(camera, center, cube)

        # Nearest reading at each patch pixel's centre: averages across a silhouette would invent surfaces.
        columns = np.floor((_STEPS - view.cx) / view.fx * camera.fx + camera.cx + 0.5)
        rows = np.floor((_STEPS - view.cy) / view.fy * camera.fy + camera.cy + 0.5)
        patch = normalize_depth(sample_depth(depth, rows, columns), center[2], cube)
        return cls(patch[:, ::-1].copy() if mirror else patch, view, center, float(cube), mirror)

    def denormalize(self, uvz: np.ndarray, uv_scale: float = PATCH - 1) -> np.ndarray:
        """Normalised joints (J, 3) of this patch as uvz (J, 3): u, v [px of the unmirrored patch], z [mm].

        Args:
            uvz: the network's output.
            uv_scale: patch pixels that a normalised u or v of 1 stands for.
        """
        return denormalize([self], np.asarray(uvz)[None], uv_scale)[0]  # type: ignore[no-any-return]

    def normalize(self, uvz: np.ndarray, uv_scale: float = PATCH - 1) -> np.ndarray:
        """The inverse of `denormalize`."""
        u, v, z = np.moveaxis(np.asarray(uvz, dtype=np.float64), -1, 0)
        if self.mirrored:
            u = PATCH - 1 - u
        return np.stack([u / uv_scale, v / uv_scale, (z - self.center[2]) / (self.cube / 2)], axis=-1)


def denormalize(crops: Sequence[HandCrop], uvz: np.ndarray, uv_scale: float = PATCH - 1) -> np.ndarray:
    """As `HandCrop.denormalize`, for the joints (N, J, 3) of N crops at once."""
    mirrored, center_z, cube = np.array([(crop.mirrored, crop.center[2], crop.cube) for crop in crops]).T[..., None]
    u, v, z = np.moveaxis(np.asarray(uvz, dtype=np.float64), -1, 0)
    u = u * uv_scale
    u = np.where(mirrored, PATCH - 1 - u, u)
    return np.stack([u, v * uv_scale, z * cube / 2 + center_z], axis=-1)


def check_cube(center: np.ndarray, cube: float) -> np.ndarray:
    """The centre (3,) of a cube, once it is certain that the cube can be cut.

    Raises:
        HandPoseError: the centre is not a point before the camera, or the cube has no size.
    """
    center = np.asarray(center, dtype=np.float64)
    if center.shape != (3,) or not (np.abs(center) <= _FARTHEST).all() or center[2] < _NEAREST:
        raise HandPoseError(
            "a hand's centre is x, y, z in mm in the camera's frame with z above 0, between a millimetre and a "
            f"kilometre, got {center.tolist()}"
        )
    if not (np.isfinite(cube) and cube > 0):
        raise HandPoseError(f"the cube's side must be above 0 mm, got {cube}")
    return center


def patch_camera(camera: Camera, center: np.ndarray, cube: float) -> Camera:
    """The camera of the patch that shows a cube.

    Args:
        camera: of the whole image.
        center: (3,) the cube's centre, camera frame, mm.
        cube: side, mm.

    Raises:
        HandPoseError: the centre is millions of pixels beside the image.
    """
    width, height = camera.fx * cube / center[2], camera.fy * cube / center[2]
    u, v, _ = camera.project(center).tolist()
    if max(abs(u), abs(v)) > _FARTHEST:
        raise HandPoseError(f"a hand's centre must be in view or near it, got {center.tolist()}: pixel {u:g}, {v:g}")
    return camera.crop(u + 0.5 - width / 2, v + 0.5 - height / 2, width, height).resize(PATCH, PATCH)


def normalize_depth(z: np.ndarray, center_z: float, cube: float) -> np.ndarray:
    """Depth (96, 96) mm, 0 = no reading, as a `HandCrop`'s patch (96, 96) float32."""
    missing = ~(z > 0)
    patch: np.ndarray = z.astype(np.float32) - np.float32(center_z)
    patch /= np.float32(cube / 2)
    np.clip(patch, -1.0, 1.0, out=patch)
    patch[missing] = 1.0
    return patch
