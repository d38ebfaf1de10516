"""What a caller says of an image, checked."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Literal

import numpy as np

from handpose.errors import HandPoseError
from handpose.geometry.camera import Camera
from handpose.io.depth.read import read_depth, to_depth
from handpose.io.depth.units import DepthUnit, millimetres_per_unit, warn_of_unit
from handpose.io.warn import warn
from handpose.results.pose import Hand

DepthImage = str | PathLike[str] | np.ndarray
"""A path to a depth file, or an array (H, W) of depth."""

Box = tuple[float, float, float, float]

HandOrAuto = Hand | Literal["auto"]
"""Which hand an image shows; `auto` looks at every place as both hands and keeps the one with less doubt."""


class AssumedCameraWarning(UserWarning):
    """No camera was given, so that distances across the image are approximate."""


def load_depth(image: DepthImage, unit: DepthUnit) -> np.ndarray:
    """Depth (H, W) in mm of a file or an array."""
    if isinstance(image, (str, PathLike)):
        return read_depth(Path(image), unit)
    depth = to_depth(image, unit)
    warn_of_unit(depth, millimetres_per_unit(unit), "depth array", integers=np.asarray(image).dtype.kind in "ui")
    return depth


def to_numbers(values: object) -> np.ndarray:
    """Values as an array of float64."""
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise HandPoseError(f"expected numbers, got {values!r:.100}") from None


def to_centres(center: Sequence[float] | np.ndarray, images: int) -> np.ndarray:
    """Hand centers (N, 3) in mm, one per image."""
    centres = to_numbers(center)
    if centres.shape not in ((3,), (images, 3)):
        raise HandPoseError(f"center must be x, y, z in mm, or one per image, got {centres.shape} for {images} images")
    return np.broadcast_to(centres, (images, 3))


def camera_of(depth: np.ndarray, camera: Camera | None) -> Camera:
    """The camera of a depth image, assumed if none is given."""
    height, width = depth.shape
    if isinstance(camera, Camera):
        return camera.for_image(width, height)
    if camera is not None:
        raise HandPoseError(f"camera must be a handpose.Camera, got {camera!r}; Camera.parse reads names and files")
    warn(
        f"no camera given: assuming a 67 degree wide view for this {width} x {height} image, so that positions are "
        "approximate; give the camera's fx, fy, cx, cy",
        AssumedCameraWarning,
    )
    return Camera.assumed(width, height)
