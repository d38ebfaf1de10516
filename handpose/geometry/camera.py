"""Pinhole cameras: intrinsics and the image size that they apply to."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from handpose.errors import HandPoseError
from handpose.io.text import MAX_SETTINGS_BYTES, read_text

_MAX_PX = 1e9  # larger values (and focal lengths below the inverse) lead to numerical errors


class _Pinhole:
    """The projection of one pinhole camera, or of N cameras if the intrinsics are arrays (N, 1)."""

    fx: Any
    fy: Any
    cx: Any
    cy: Any

    def project(self, xyz: np.ndarray) -> np.ndarray:
        """Project points `xyz` (..., 3) in mm, camera frame, to pixels and depth `uvz` (..., 3) [px, px, mm]."""
        xyz = np.asarray(xyz, dtype=np.float64)
        z = xyz[..., 2]
        return np.stack([xyz[..., 0] / z * self.fx + self.cx, xyz[..., 1] / z * self.fy + self.cy, z], axis=-1)

    def unproject(self, uvz: np.ndarray) -> np.ndarray:
        """Return the points `xyz` (..., 3) in mm, camera frame, of pixels and depths `uvz` (..., 3) [px, px, mm]."""
        uvz = np.asarray(uvz, dtype=np.float64)
        z = uvz[..., 2]
        return np.stack([(uvz[..., 0] - self.cx) * z / self.fx, (uvz[..., 1] - self.cy) * z / self.fy, z], axis=-1)


@dataclass(frozen=True)
class Camera(_Pinhole):
    """Pinhole intrinsics in pixels; x right, y down, z forward; the center of the top left pixel is (0, 0).

    Attributes:
        fx, fy: Focal lengths.
        cx, cy: Principal point.
        width, height: Image size that the intrinsics apply to; 0 if unknown, which fits images of any size.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    width: float = 0
    height: float = 0

    def __post_init__(self) -> None:
        fields = vars(self)
        for name, given in fields.items():  # numpy scalars cannot be written as JSON
            try:
                value = float(given)
            except (TypeError, ValueError, OverflowError):
                value = math.nan
            fields[name] = int(value) if name in ("width", "height") and value.is_integer() else value
        values = tuple(fields.values())
        if not all(abs(value) <= _MAX_PX for value in values) or min(self.fx, self.fy) < 1 / _MAX_PX:
            raise HandPoseError(
                f"a camera requires finite numbers and focal lengths above 0, got fx,fy,cx,cy = {values[:4]}"
            )
        if self.width < 0 or self.height < 0:
            raise HandPoseError(f"the image size of a camera must not be negative, got {self.width} x {self.height}")

    def crop(self, x: float, y: float, width: float, height: float) -> Camera:
        """Return the camera of an image window with first column `x` and first row `y` (may be fractions)."""
        return Camera(self.fx, self.fy, self.cx - x, self.cy - y, width, height)

    def resize(self, width: float, height: float) -> Camera:
        """Return the camera of the same view at another resolution."""
        if not (self.width and self.height):
            raise HandPoseError("resizing a camera requires its image size; pass width and height")
        sx, sy = width / self.width, height / self.height
        return Camera(self.fx * sx, self.fy * sy, (self.cx + 0.5) * sx - 0.5, (self.cy + 0.5) * sy - 0.5, width, height)

    def for_image(self, width: int, height: int) -> Camera:
        """Return this camera scaled to an image of the given size.

        The size may be that of the camera, an integer multiple or an integer fraction of it.

        Raises:
            HandPoseError: the image has another shape: it was cropped or rotated, or comes from another camera.
        """
        if not (self.width and self.height):
            return dataclasses.replace(self, width=width, height=height)
        if (width, height) == (self.width, self.height):
            return self
        up, down = width / self.width, self.width / width
        factor = max(up, down)
        if height * self.width == width * self.height and factor == round(factor):
            return self.resize(width, height)
        raise HandPoseError(
            f"the camera is for {self.width:g} x {self.height:g} images or integer multiples, got {width} x {height}; "
            "pass the intrinsics of this stream (a crop shifts cx and cy, a rotation swaps the axes)"
        )

    def to_dict(self) -> dict[str, float]:
        """Return the fields by name."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: object) -> Camera:
        """Create a camera from the fields `fx, fy, cx, cy` and, if known, `width, height`."""
        given: dict[str, Any] = values if isinstance(values, dict) else {}
        try:
            numbers = {field.name: given[field.name] for field in dataclasses.fields(cls) if field.name in given}
            return cls(**{name: _number(value) for name, value in numbers.items()})
        except TypeError:
            raise HandPoseError(
                "a camera requires the numbers fx, fy, cx, cy and, if known, width, height; got "
                f"{str(list(given) or values)[:100]}"
            ) from None

    @classmethod
    def assumed(cls, width: int, height: int) -> Camera:
        """Return a guess for an unknown camera: 67 degrees wide and centered. Positions become approximate."""
        focal = width / 2 / math.tan(math.radians(67.0 / 2))
        return cls(focal, focal, (width - 1) / 2, (height - 1) / 2, width, height)

    @classmethod
    def parse(cls, text: str) -> Camera:
        """Parse a camera from text.

        Args:
            text: A preset (`icvl`, `nyu`, `msra`); the numbers `fx,fy,cx,cy` or `fx,fy,cx,cy,width,height`; a JSON
                file with these names; or a ROS `camera_info` YAML file (only its `K` is used, so images must be
                rectified).

        Raises:
            HandPoseError: the text has another format, or the file does not contain a camera.
        """
        if text in CAMERAS:
            return CAMERAS[text]
        parts = text.split(",")
        if len(parts) in (4, 6):
            try:
                return cls(*(float(part) for part in parts))
            except ValueError:
                pass
        path = Path(text)
        if path.suffix.lower() in (".json", ".yaml", ".yml"):
            content = read_text(path, MAX_SETTINGS_BYTES)
            return _from_json(path, content) if path.suffix.lower() == ".json" else _from_ros(path, content)
        raise HandPoseError(
            f"camera must be one of {', '.join(CAMERAS)}, or fx,fy,cx,cy[,width,height], or a .json or ROS .yaml file; "
            f"got {text!r}"
        )


class Cameras(_Pinhole):
    """N cameras as one: points and pixels are (N, J, 3), one row per camera.

    Args:
        cameras: The N cameras.
    """

    def __init__(self, cameras: Sequence[Camera]) -> None:
        intrinsics = np.array([(camera.fx, camera.fy, camera.cx, camera.cy) for camera in cameras])
        self.fx, self.fy, self.cx, self.cy = intrinsics.T[..., None]


CAMERAS = {
    "icvl": Camera(241.42, 241.42, 160.0, 120.0, 320, 240),
    "nyu": Camera(588.03, 587.07, 320.0, 240.0, 640, 480),
    "msra": Camera(241.42, 241.42, 160.0, 120.0, 320, 240),
}
"""The cameras of the public data sets."""


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError("not a number")
    return value


def _from_json(path: Path, content: str) -> Camera:
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise HandPoseError(f"{path}: not JSON ({error})") from None
    if not isinstance(values, dict):
        raise HandPoseError(f"{path}: expected an object with fx, fy, cx, cy, got {type(values).__name__}")
    try:
        return Camera.from_dict(values)
    except HandPoseError as error:
        raise HandPoseError(f"{path}: {error}") from None


# A camera_info message is flat with fixed keys: `K` (ROS 1), `k` (ROS 2) or camera_calibration's
# `camera_matrix: {rows, cols, data}` contain nine numbers, row by row, in either of YAML's list styles.
# All repetitions are bounded or unambiguous, so no file causes long backtracking.
_ROS_MATRIX = re.compile(
    r"^[ \t]*(?:[Kk][ \t]*:|camera_matrix[ \t]*:.{,200}?data[ \t]*:)((?:[\s,\[\]-]*[\d.eE+-]+){9})", re.M | re.S
)
# Only at the start of a line: the size of the image, not that of its `roi`.
_ROS_SIZE = re.compile(r"^(?:image_)?(width|height)\s*:\s*(\d+)\b", re.M)


def _from_ros(path: Path, content: str) -> Camera:
    matrix = _ROS_MATRIX.search(content)
    size = dict(_ROS_SIZE.findall(content))
    if matrix is None or set(size) != {"width", "height"}:
        raise HandPoseError(f"{path}: expected a ROS camera_info with width, height and K (or camera_matrix)")
    try:
        k = [float(number) for number in re.findall(r"(?<![\d.eE])-?\d[\d.]*(?:[eE][+-]?\d+)?", matrix.group(1))]
        return Camera(k[0], k[4], k[2], k[5], float(size["width"]), float(size["height"]))
    except (HandPoseError, IndexError, ValueError):
        got = " ".join(matrix.group(1).split())[:100]
        raise HandPoseError(f"{path}: K must be the nine numbers of a calibrated camera, got {got}") from None
