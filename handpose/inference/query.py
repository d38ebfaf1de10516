"""The query: what the caller knows about depth images, validated once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np

from handpose.errors import HandPoseError, brief
from handpose.geometry.camera import Camera, CameraLike
from handpose.geometry.rectification import is_distorted
from handpose.inference.check_camera import camera_warnings
from handpose.io.arguments import check_choice, numbers
from handpose.io.choices import DEFAULT_HAND, HandOrAuto
from handpose.io.depth.read import read_depth, to_depth
from handpose.io.depth.units import DepthUnit, millimeters_per_unit, warn_about_sign, warn_about_unit
from handpose.io.warn import InputWarning, warn

DepthImage = str | PathLike[str] | np.ndarray
"""Path of a depth file, or a depth array (H, W)."""

Box = tuple[float, float, float, float]
"""x, y, width and height in px."""


class AssumedCameraWarning(InputWarning):
    """No camera was given, so distances across the image are approximate."""


@dataclass(frozen=True, eq=False)
class Query:
    """What the caller knows about depth images: the keyword arguments that `HandPoseEstimator.predict` explains.

    Raises:
        HandPoseError: an argument is invalid, or both `center` and `box` are given.
    """

    camera: Camera | None = None
    center: Sequence[float] | np.ndarray | None = None
    box: Box | None = None
    hand: HandOrAuto = DEFAULT_HAND
    unit: DepthUnit = "mm"

    if TYPE_CHECKING:  # `camera` is converted below

        def __init__(
            self,
            camera: CameraLike | None = None,
            center: Sequence[float] | np.ndarray | None = None,
            box: Box | None = None,
            hand: HandOrAuto = DEFAULT_HAND,
            unit: DepthUnit = "mm",
        ) -> None: ...

    def __post_init__(self) -> None:
        if self.center is not None and self.box is not None:
            raise HandPoseError("pass either the hand center or a box, not both")
        if self.center is not None:
            object.__setattr__(self, "center", numbers(self.center))
        if self.box is not None and numbers(self.box).shape != (4,):
            raise HandPoseError(f"box must be x, y, width, height in px, got {brief(self.box)}")
        check_choice("hand", self.hand, get_args(HandOrAuto))
        millimeters_per_unit(self.unit)
        if self.camera is not None:
            object.__setattr__(self, "camera", Camera.of(self.camera))

    def per_image(self, images: int) -> list[Query]:
        """Return one query for each of several images: each has its own center if `center` is (N, 3)."""
        if self.center is None:
            return [self] * images
        centers = np.asarray(self.center)
        if centers.shape == (3,):
            return [self] * images
        if centers.shape != (images, 3):
            raise HandPoseError(
                f"center must be x, y, z in mm, or one per image, got {centers.shape} for {images} images"
            )
        return [replace(self, center=center) for center in centers]

    def load(self, image: DepthImage) -> np.ndarray:
        """Return the depth (H, W) in mm of a file or an array."""
        if isinstance(image, (str, PathLike)):
            return read_depth(Path(image), self.unit)
        depth = to_depth(image, self.unit)
        warn_about_sign(depth, np.asarray(image), "depth array")
        integers = np.asarray(image).dtype.kind in "ui"
        warn_about_unit(depth, self.unit, "depth array", integers=integers)
        return depth

    def camera_for(self, depth: np.ndarray) -> Camera:
        """Return the camera of a depth image (H, W): an assumed one if none is given.

        A distortion that moves no pixel by more than half a pixel is dropped.

        Warns:
            AssumedCameraWarning: no camera is given, or an assumed one.
            InputWarning: the camera is implausible.
        """
        height, width = depth.shape
        given = self.camera
        camera = Camera.assumed(width, height) if given is None else given.for_image(width, height)
        if camera.distortion is not None and not is_distorted(camera):
            camera = replace(camera, distortion=None)
        for warning in camera_warnings(given, camera):
            warn(warning.message, AssumedCameraWarning if warning.code == "camera_assumed" else InputWarning)
        return camera
