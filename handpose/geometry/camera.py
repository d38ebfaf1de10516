"""The pinhole camera: intrinsics with the image size they belong to."""

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
from handpose.io.text import SETTINGS, read_text

_LARGEST = 1e9  # px, beyond which (or below whose inverse) no camera is, and arithmetic begins to fail


class _Pinhole:
    """The projection of a pinhole camera, or of many where the intrinsics are arrays (N, 1)."""

    fx: Any
    fy: Any
    cx: Any
    cy: Any

    def project(self, xyz: np.ndarray) -> np.ndarray:
        """Pixels and depth `uvz` (..., 3) [px, px, mm] of points `xyz` (..., 3) in the camera's frame, mm."""
        xyz = np.asarray(xyz, dtype=np.float64)
        z = xyz[..., 2]
        return np.stack([xyz[..., 0] / z * self.fx + self.cx, xyz[..., 1] / z * self.fy + self.cy, z], axis=-1)

    def unproject(self, uvz: np.ndarray) -> np.ndarray:
        """Points `xyz` (..., 3) in the camera's frame, mm, at pixels and depths `uvz` (..., 3) [px, px, mm]."""
        uvz = np.asarray(uvz, dtype=np.float64)
        z = uvz[..., 2]
        return np.stack([(uvz[..., 0] - self.cx) * z / self.fx, (uvz[..., 1] - self.cy) * z / self.fy, z], axis=-1)


@dataclass(frozen=True)
class Camera(_Pinhole):
    """Pinhole intrinsics in pixels; x right, y down, z forward; the centre of the first pixel is (0, 0).

    Attributes:
        fx, fy: focal lengths.
        cx, cy: principal point.
        width, height: size of the image they belong to; 0 where it is not known, then any image's size fits.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    width: float = 0
    height: float = 0

    def __post_init__(self) -> None:
        fields = vars(self)
        for name, given in fields.items():  # numpy's numbers would not survive JSON
            try:
                value = float(given)
            except (TypeError, ValueError, OverflowError):
                value = math.nan
            fields[name] = int(value) if name in ("width", "height") and value.is_integer() else value
        values = tuple(fields.values())
        if not all(abs(value) <= _LARGEST for value in values) or min(self.fx, self.fy) < 1 / _LARGEST:
            raise HandPoseError(
                f"a camera needs finite numbers and focal lengths above 0, got fx,fy,cx,cy = {values[:4]}"
            )
        if self.width < 0 or self.height < 0:
            raise HandPoseError(f"a camera's image size must not be negative, got {self.width} x {self.height}")

    def crop(self, x: float, y: float, width: float, height: float) -> Camera:
        """The camera of the window whose first column and row are `x` and `y` (fractions allowed)."""
        return Camera(self.fx, self.fy, self.cx - x, self.cy - y, width, height)

    def resize(self, width: float, height: float) -> Camera:
        """The camera of the same view at another resolution."""
        if not (self.width and self.height):
            raise HandPoseError("a camera must know its image's size to be resized; give it width and height")
        sx, sy = width / self.width, height / self.height
        return Camera(self.fx * sx, self.fy * sy, (self.cx + 0.5) * sx - 0.5, (self.cy + 0.5) * sy - 0.5, width, height)

    def for_image(self, width: int, height: int) -> Camera:
        """This camera for an image of the given size.

        The size may be the camera's own, a whole multiple, or a whole fraction of it.

        Raises:
            HandPoseError: the image is of another shape: cropped, rotated, or another camera's.
        """
        if not (self.width and self.height):
            return dataclasses.replace(self, width=width, height=height)
        if (width, height) == (self.width, self.height):
            return self
        up, down = width / self.width, self.width / width
        whole = max(up, down)
        if height * self.width == width * self.height and whole == round(whole):
            return self.resize(width, height)
        raise HandPoseError(
            f"the camera is for {self.width:g} x {self.height:g} images, or whole multiples, got {width} x {height}; "
            "give the intrinsics of this very stream (a crop shifts cx and cy, a rotation swaps the axes)"
        )

    def to_dict(self) -> dict[str, float]:
        """The fields by name."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: object) -> Camera:
        """The camera with the fields `fx, fy, cx, cy` and, if known, `width, height`."""
        given: dict[str, Any] = values if isinstance(values, dict) else {}
        try:
            numbers = {field.name: given[field.name] for field in dataclasses.fields(cls) if field.name in given}
            return cls(**{name: _number(value) for name, value in numbers.items()})
        except TypeError:
            raise HandPoseError(
                "a camera needs the numbers fx, fy, cx, cy and, if known, width, height; got "
                f"{str(list(given) or values)[:100]}"
            ) from None

    @classmethod
    def assumed(cls, width: int, height: int) -> Camera:
        """A guess for a camera nobody described: 67 degrees wide, centred. Positions come out approximate."""
        focal = width / 2 / math.tan(math.radians(67.0 / 2))
        return cls(focal, focal, (width - 1) / 2, (height - 1) / 2, width, height)

    @classmethod
    def parse(cls, text: str) -> Camera:
        """The camera that `text` names.

        Args:
            text: a preset (`icvl`, `nyu`, `msra`); the numbers `fx,fy,cx,cy` or `fx,fy,cx,cy,width,height`;
                a JSON file with these names; or a ROS `camera_info` YAML file (its `K`; the image must be
                rectified, since distortion is not undone here).

        Raises:
            HandPoseError: it is none of these, or the file does not hold them.
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
            content = read_text(path, SETTINGS)
            return _from_json(path, content) if path.suffix.lower() == ".json" else _from_ros(path, content)
        raise HandPoseError(
            f"camera must be one of {', '.join(CAMERAS)}, or fx,fy,cx,cy[,width,height], or a .json or ROS .yaml file; "
            f"got {text!r}"
        )


class Cameras(_Pinhole):
    """Many cameras as one: points and pixels are (N, J, 3), with those of each camera in a row.

    Args:
        cameras: N of them.
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


# A camera_info message is flat and of fixed keys; `K` (ROS 1), `k` (ROS 2) or camera_calibration's
# `camera_matrix: {rows, cols, data}` hold nine numbers, row by row, in either of YAML's list styles.
# Every repetition is bounded or of one kind, so that no file takes long.
_ROS_MATRIX = re.compile(
    r"^[ \t]*(?:[Kk][ \t]*:|camera_matrix[ \t]*:.{,200}?data[ \t]*:)((?:[\s,\[\]-]*[\d.eE+-]+){9})", re.M | re.S
)
# At the line's start: the message's own size, not that of its `roi`.
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
        raise HandPoseError(f"{path}: its K is not nine numbers of a calibrated camera, got {got}") from None
