"""Cameras: intrinsics, the image size that they apply to, and the distortion of the lens."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from handpose.errors import HandPoseError, brief
from handpose.geometry import camera_files
from handpose.geometry.distortion import COEFFICIENTS, Distortion
from handpose.io.arguments import check_kind, numbers

_NUMBERS = ("fx", "fy", "cx", "cy", "width", "height")
_COUNTS = (4, 6, *(6 + count for count in COEFFICIENTS["brown_conrady"]))  # of numbers in the text of a camera
_MAX_PX = 1e9  # larger values (and focal lengths below the inverse) lead to numerical errors


class _Pinhole:
    """The projection of one pinhole camera, or of N cameras if the intrinsics are arrays (N, 1)."""

    fx: Any
    fy: Any
    cx: Any
    cy: Any

    def project(self, xyz: np.ndarray) -> np.ndarray:
        """Project points `xyz` (..., 3) in mm, camera frame, to pixels and depth `uvz` (..., 3) [px, px, mm]."""
        xyz = _points(xyz)
        uvz, z = np.empty_like(xyz), xyz[..., 2]
        uvz[..., 0] = xyz[..., 0] / z * self.fx + self.cx
        uvz[..., 1] = xyz[..., 1] / z * self.fy + self.cy
        uvz[..., 2] = z
        return uvz

    def unproject(self, uvz: np.ndarray) -> np.ndarray:
        """Return the points `xyz` (..., 3) in mm, camera frame, of pixels and depths `uvz` (..., 3) [px, px, mm]."""
        uvz = _points(uvz)
        xyz, z = np.empty_like(uvz), uvz[..., 2]
        xyz[..., 0] = (uvz[..., 0] - self.cx) * z / self.fx
        xyz[..., 1] = (uvz[..., 1] - self.cy) * z / self.fy
        xyz[..., 2] = z
        return xyz


@dataclass(frozen=True)
class Camera(_Pinhole):
    """Intrinsics in pixels; x right, y down, z forward; the center of the top left pixel is (0, 0).

    Attributes:
        fx, fy: Focal lengths.
        cx, cy: Principal point.
        width, height: Image size that the intrinsics apply to; 0 if unknown, which fits images of any size.
        distortion: Distortion of the lens; None if there is none, as in rectified images.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    width: float = 0
    height: float = 0
    distortion: Distortion | None = None

    def __post_init__(self) -> None:
        fields = vars(self)
        for name in _NUMBERS:  # numpy scalars cannot be written as JSON
            try:
                value = float(fields[name])
            except (TypeError, ValueError, OverflowError):
                value = math.nan
            fields[name] = int(value) if name in ("width", "height") and value.is_integer() else value
        if not (self.distortion is None or isinstance(self.distortion, Distortion)):
            raise HandPoseError(f"distortion must be a handpose.Distortion or None, got {brief(self.distortion)}")
        values = tuple(fields.values())[:-1]
        if not all(abs(value) <= _MAX_PX for value in values) or min(self.fx, self.fy) < 1 / _MAX_PX:
            raise HandPoseError(
                f"a camera requires finite numbers and focal lengths above 0, got fx,fy,cx,cy = {values[:4]}"
            )
        if self.width < 0 or self.height < 0:
            raise HandPoseError(f"the image size of a camera must not be negative, got {self.width} x {self.height}")

    def project(self, xyz: np.ndarray) -> np.ndarray:
        """Project points `xyz` (..., 3) in mm, camera frame, to pixels and depth `uvz` (..., 3) [px, px, mm]."""
        uvz = super().project(xyz)
        if self.distortion is not None:
            focal, center = (self.fx, self.fy), (self.cx, self.cy)
            uvz[..., :2] = self.distortion.distort((uvz[..., :2] - center) / focal) * focal + center
        return uvz

    def unproject(self, uvz: np.ndarray) -> np.ndarray:
        """Return the points `xyz` (..., 3) in mm, camera frame, of pixels and depths `uvz` (..., 3) [px, px, mm]."""
        if self.distortion is not None:
            uvz = _points(uvz).copy()
            focal, center = (self.fx, self.fy), (self.cx, self.cy)
            uvz[..., :2] = self.distortion.undistort((uvz[..., :2] - center) / focal) * focal + center
        return super().unproject(uvz)

    def crop(self, x: float, y: float, width: float, height: float) -> Camera:
        """Return the camera of an image window with first column `x` and first row `y` (may be fractions)."""
        x, y = _real("x", x), _real("y", y)
        return Camera(self.fx, self.fy, self.cx - x, self.cy - y, width, height, self.distortion)

    def resize(self, width: float, height: float) -> Camera:
        """Return the camera of the same view at another resolution."""
        if not (self.width and self.height):
            raise HandPoseError("resizing a camera requires its image size; pass width and height")
        sx, sy = _real("width", width) / self.width, _real("height", height) / self.height
        cx, cy = (self.cx + 0.5) * sx - 0.5, (self.cy + 0.5) * sy - 0.5
        return Camera(self.fx * sx, self.fy * sy, cx, cy, width, height, self.distortion)

    def for_image(self, width: int, height: int) -> Camera:
        """Return this camera scaled to an image of the given size.

        The size may be that of the camera, an integer multiple or an integer fraction of it.

        Raises:
            HandPoseError: the image has another shape: it was cropped or rotated, or comes from another camera.
        """
        if not min(_real("width", width), _real("height", height)) > 0:
            raise HandPoseError(f"the size of an image must be above 0, got {width} x {height}")
        if not (self.width and self.height):
            return dataclasses.replace(self, width=width, height=height)
        if (width, height) == (self.width, self.height):
            return self
        up, down = width / self.width, self.width / width
        factor = max(up, down)
        if height * self.width == width * self.height and factor == round(factor):
            return self.resize(width, height)
        advice = "pass the intrinsics of this stream (a crop shifts cx and cy, a rotation swaps the axes)"
        if (width, height) == (self.height, self.width):
            advice = "this looks like the camera of the rotated image; rotate the image back"
        raise HandPoseError(
            f"the image has {width} x {height} px, but the intrinsics are for {self.width:g} x {self.height:g} px and "
            f"multiples of it; {advice}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        lens = None if self.distortion is None else self.distortion.to_dict()
        return {name: getattr(self, name) for name in _NUMBERS} | {"distortion": lens}

    @classmethod
    def from_dict(cls, values: object) -> Camera:
        """Create a camera from the dictionary that `to_dict` returns; width and height may be missing."""
        given: dict[str, Any] = values if isinstance(values, dict) else {}
        lens = given.get("distortion")
        try:
            numbers = {name: _number(given[name]) for name in _NUMBERS if name in given}
            return cls(**numbers, distortion=None if lens is None else Distortion.from_dict(lens))
        except TypeError:
            raise HandPoseError(
                "a camera requires the numbers fx, fy, cx, cy and, if known, width, height; got "
                f"{brief(list(given) or values)}"
            ) from None

    @classmethod
    def assumed(cls, width: int, height: int) -> Camera:
        """Return a guess for an unknown camera: 67 degrees wide and centered. Positions become approximate."""
        focal = _real("width", width) / 2 / math.tan(math.radians(67.0 / 2))
        return cls(focal, focal, (width - 1) / 2, (_real("height", height) - 1) / 2, width, height)

    @classmethod
    def parse(cls, text: str) -> Camera:
        """Parse a camera from text.

        Args:
            text: A preset (`icvl`, `nyu`, `msra`); the numbers `fx,fy,cx,cy`, `fx,fy,cx,cy,width,height`, or these six
                and OpenCV's 4 to 14 distortion coefficients, separated by commas or by spaces; or a camera file (.json,
                .yaml, .yml, .txt) of this package, RealSense, Open3D, ROS, OpenCV or Kalibr.

        Raises:
            HandPoseError: the text has another format, or the file does not contain exactly one camera.
        """
        check_kind("camera", text, str, "text")
        if text in CAMERAS:
            return CAMERAS[text]
        parts = text.split("," if "," in text else None)
        if len(parts) in _COUNTS:
            try:
                numbers = [float(part) for part in parts]
            except ValueError:
                numbers = []
            if numbers:
                lens = Distortion("brown_conrady", tuple(numbers[6:])) if any(numbers[6:]) else None
                return cls(**dict(zip(_NUMBERS, numbers, strict=False)), distortion=lens)
        path = Path(text)
        if path.suffix.lower() in camera_files.SUFFIXES:
            return _checked(path, camera_files.read_intrinsics(path))
        raise HandPoseError(
            f"camera must be one of {', '.join(CAMERAS)}, or fx,fy,cx,cy[,width,height[,k1,k2,p1,p2,...]], or a file "
            f"({', '.join(camera_files.SUFFIXES)}); got {brief(text)}"
        )

    @classmethod
    def of(cls, camera: CameraLike) -> Camera:
        """Return the camera that an argument `camera` stands for.

        Args:
            camera: A camera; text or a path as for `parse`; a 3 x 3 matrix; a 3 x 4 projection matrix of a rectified
                image, whose fourth column is zero; `(fx, fy, cx, cy)` or `(fx, fy, cx, cy, width, height)`; a
                dictionary with the names of a camera file; or the intrinsics object of a camera's SDK, such as
                `pyrealsense2.intrinsics`.

        Raises:
            HandPoseError: it is none of these.
        """
        if isinstance(camera, Camera):
            return camera
        if isinstance(camera, (str, PathLike)):
            return cls.parse(str(camera))
        if isinstance(camera, (Sequence, np.ndarray)) and _shape(camera) == (6,):
            return cls(*camera)
        try:
            return cls(*camera_files.intrinsics_of(camera))
        except HandPoseError as error:
            raise HandPoseError(
                "camera must be a handpose.Camera, a name or file, a 3 x 3 matrix, (fx, fy, cx, cy) or the intrinsics "
                f"of an SDK: {error}"
            ) from None


CameraLike = Camera | str | PathLike[str] | Mapping[str, Any] | Sequence[Any] | np.ndarray | Any
"""Everything that an argument `camera` accepts; see `Camera.of`."""


class Cameras(_Pinhole):
    """N cameras as one: points and pixels are (N, J, 3), one row per camera.

    Args:
        cameras: The N cameras.
    """

    def __init__(self, cameras: Sequence[Camera]) -> None:
        intrinsics = np.array([(camera.fx, camera.fy, camera.cx, camera.cy) for camera in cameras])
        self.fx, self.fy, self.cx, self.cy = intrinsics.T[..., None]
        self._distorted = [(i, camera) for i, camera in enumerate(cameras) if camera.distortion is not None]

    def project(self, xyz: np.ndarray) -> np.ndarray:
        """Project points `xyz` (N, J, 3) in mm, camera frame, to pixels and depth `uvz` (N, J, 3) [px, px, mm]."""
        uvz = super().project(xyz)
        for i, camera in self._distorted:
            uvz[i] = camera.project(xyz[i])
        return uvz

    def unproject(self, uvz: np.ndarray) -> np.ndarray:
        """Return the points `xyz` (N, J, 3) in mm, camera frame, of pixels and depths `uvz` (N, J, 3)."""
        xyz = super().unproject(uvz)
        for i, camera in self._distorted:
            xyz[i] = camera.unproject(uvz[i])
        return xyz


CAMERAS = {
    "icvl": Camera(241.42, 241.42, 160.0, 120.0, 320, 240),
    "nyu": Camera(588.03, 587.07, 320.0, 240.0, 640, 480),
    "msra": Camera(241.42, 241.42, 160.0, 120.0, 320, 240),
}
"""The cameras of the public data sets."""


def _shape(values: Any) -> tuple[int, ...]:
    """Return the shape of an array or of nested sequences; it is empty if these have different lengths."""
    try:
        return np.shape(values)
    except ValueError:
        return ()


def _points(values: object) -> np.ndarray:
    """Return points (..., 3) as float64."""
    points = numbers(values)
    if points.shape[-1:] != (3,):
        raise HandPoseError(f"points must be (..., 3) numbers, got an array of shape {points.shape}")
    return points


def _real(name: str, value: Any) -> float:
    """Return a number as it is, after checking it."""
    check_kind(name, value, (int, float, np.integer, np.floating), "a number")
    if not abs(value) <= _MAX_PX:
        raise HandPoseError(f"{name} must be a finite number of pixels, got {brief(value)}")
    number: float = value
    return number


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError("not a number")
    return value


def _checked(path: Path, intrinsics: camera_files.Intrinsics) -> Camera:
    try:
        return Camera(*intrinsics)
    except HandPoseError as error:
        raise HandPoseError(f"{path}: {error}") from None
