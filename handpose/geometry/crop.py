"""Hand crops: metric cubes resampled to patches, the network's input. Each patch is the image of a pinhole camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from handpose.errors import HandPoseError
from handpose.geometry.camera import Camera, CameraLike
from handpose.geometry.rectification import rectify
from handpose.geometry.sampling import sample_depth
from handpose.io.arguments import check_kind

PATCH = 96
"""Side of a patch, px."""

_STEPS = np.arange(float(PATCH))
_MIN_Z_MM = 1.0
_MAX_COORDINATE = 1e6  # mm or px of a valid hand center
_SIDES = (50.0, 1000.0)  # mm, of the cubes of data sets and networks


@dataclass(frozen=True, eq=False)
class HandCrop:
    """A cube around a hand, resampled to a patch.

    Attributes:
        patch: (96, 96) float32: -1 at the near face of the cube and in front of it, +1 at the far face, behind it and
            at missing pixels.
        camera: Pinhole camera of the patch (before mirroring).
        center: (3,) center of the cube in mm, camera frame.
        cube: Side of the cube, mm.
        mirrored: Whether the patch is flipped horizontally, so that a left hand looks like a right one.
    """

    patch: np.ndarray
    camera: Camera
    center: np.ndarray
    cube: float
    mirrored: bool = False

    @classmethod
    def cut(
        cls, depth: np.ndarray, camera: CameraLike, center: np.ndarray, cube: float, *, mirror: bool = False
    ) -> HandCrop:
        """Crop a cube from a depth image.

        Args:
            depth: (H, W) mm, 0 = missing.
            camera: Camera of the image, in any form that `Camera.of` accepts.
            center: (3,) center of the cube in mm, camera frame.
            cube: Side of the cube, mm.
            mirror: Whether to flip the patch, for left hands.

        Raises:
            HandPoseError: the center is not a point in front of the camera, or the camera does not fit the image.
        """
        center = check_cube(center, cube)
        depth, camera = rectify(depth, Camera.of(camera).for_image(depth.shape[1], depth.shape[0]))
        view = patch_camera(camera, center, cube)

        # Each patch pixel samples the nearest pixel: averages across a silhouette would invent surfaces.
        columns = np.floor((_STEPS - view.cx) / view.fx * camera.fx + camera.cx + 0.5)
        rows = np.floor((_STEPS - view.cy) / view.fy * camera.fy + camera.cy + 0.5)
        patch = normalize_depth(sample_depth(depth, rows, columns), center[2], cube)
        crop = cls(patch, view, center, float(cube))
        return crop.flipped() if mirror else crop

    def flipped(self) -> HandCrop:
        """Return the same cube with the patch flipped horizontally."""
        return replace(self, patch=self.patch[:, ::-1].copy(), mirrored=not self.mirrored)

    def denormalize(self, uvz: np.ndarray, uv_scale: float = PATCH - 1) -> np.ndarray:
        """Convert normalized joints (J, 3) to `uvz` (J, 3): u and v in px of the unmirrored patch, z in mm.

        Args:
            uvz: The network's output.
            uv_scale: Patch pixels that correspond to a normalized u or v of 1.
        """
        return denormalize([self], np.asarray(uvz)[None], uv_scale)[0]  # type: ignore[no-any-return]

    def normalize(self, uvz: np.ndarray, uv_scale: float = PATCH - 1) -> np.ndarray:
        """Convert `uvz` (..., 3) to normalized joints: the inverse of `denormalize`."""
        u, v, z = np.moveaxis(np.asarray(uvz, dtype=np.float64), -1, 0)
        if self.mirrored:
            u = PATCH - 1 - u
        return np.stack([u / uv_scale, v / uv_scale, (z - self.center[2]) / (self.cube / 2)], axis=-1)


def denormalize(crops: Sequence[HandCrop], uvz: np.ndarray, uv_scale: float = PATCH - 1) -> np.ndarray:
    """Apply `HandCrop.denormalize` to the joints (N, J, 3) of N crops at once."""
    mirrored, center_z, cube = np.array([(crop.mirrored, crop.center[2], crop.cube) for crop in crops]).T[..., None]
    uvz = np.array(uvz, dtype=np.float64)
    uvz[..., :2] *= uv_scale
    uvz[..., 0] = np.where(mirrored, PATCH - 1 - uvz[..., 0], uvz[..., 0])
    uvz[..., 2] = uvz[..., 2] * cube / 2 + center_z
    return uvz


def meters_hint(center: np.ndarray) -> str:
    """Return the end of a message about a given center, if it would be that of a hand with the meter as its unit."""
    if center.shape == (3,) and 0.1 <= center[2] <= 5.0 and (np.abs(center[:2]) < center[2] * 2.0).all():
        return "; it seems to be in meters, so multiply it by 1000"
    return ""


def check_cube(center: np.ndarray, cube: float) -> np.ndarray:
    """Validate a cube and return its center as float64 (3,).

    Raises:
        HandPoseError: the center is not a point in front of the camera, or the cube has no size.
    """
    center = np.asarray(center, dtype=np.float64)
    if center.shape != (3,) or not all(abs(x) <= _MAX_COORDINATE for x in center.tolist()) or center[2] < _MIN_Z_MM:
        raise HandPoseError(
            "a hand center must be x, y, z in mm, camera frame, with z between a millimeter and a kilometer, "
            f"got {center.tolist()}{meters_hint(center)}"
        )
    if not (np.isfinite(cube) and cube > 0):
        raise HandPoseError(f"the side of the cube must be above 0 mm, got {cube}")
    return center


def checked_side(cube: Any) -> float:
    """Return the side of the cubes of a data set in mm.

    Raises:
        HandPoseError: It is not a plausible number of mm.
    """
    check_kind("the side of a cube", cube, (int, float, np.integer, np.floating), "a number")
    if not _SIDES[0] <= cube <= _SIDES[1]:
        raise HandPoseError(f"the side of a cube must be {_SIDES[0]:g} to {_SIDES[1]:g} mm, got {cube}")
    return float(cube)


def surface_in_cube(
    depth: np.ndarray, camera: Camera, center: np.ndarray, cube: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels (P, 2) in px and the points (P, 3) in mm, camera frame, of the surface inside a cube.

    Args:
        depth: (H, W) mm, 0 = missing.
        camera: Camera of the image.
        center: (3,) center of the cube in mm, camera frame.
        cube: Side of the cube, mm.
    """
    v, u = np.nonzero((depth > 0) & (np.abs(depth - center[2]) <= cube / 2))
    points = camera.unproject(np.stack([u, v, depth[v, u]], axis=-1))
    inside = (np.abs(points - center) <= cube / 2).all(axis=1)
    return np.stack([u, v], axis=-1)[inside], points[inside]


def patch_camera(camera: Camera, center: np.ndarray, cube: float) -> Camera:
    """Return the camera of the patch that shows a cube.

    Args:
        camera: Camera of the whole image.
        center: (3,) center of the cube in mm, camera frame.
        cube: Side of the cube, mm.

    Raises:
        HandPoseError: the center is millions of pixels outside the image.
    """
    x, y, z = center.tolist()  # with so few numbers, Python is faster than numpy
    width, height = camera.fx * cube / z, camera.fy * cube / z
    u, v = x / z * camera.fx + camera.cx, y / z * camera.fy + camera.cy
    if max(abs(u), abs(v)) > _MAX_COORDINATE:
        raise HandPoseError(
            f"a hand center must be inside or near the field of view, got {center.tolist()}: pixel {u:g}, {v:g}"
        )
    return camera.crop(u + 0.5 - width / 2, v + 0.5 - height / 2, width, height).resize(PATCH, PATCH)


def normalize_depth(z: np.ndarray, center_z: float, cube: float) -> np.ndarray:
    """Convert depth (96, 96) in mm, 0 = missing, to the `patch` of a `HandCrop`."""
    missing = ~(z > 0)
    patch: np.ndarray = z.astype(np.float32) - np.float32(center_z)
    patch /= np.float32(cube / 2)
    np.minimum(patch, 1.0, out=patch)
    np.maximum(patch, -1.0, out=patch)
    patch[missing] = 1.0
    return patch
