"""Lens distortion: maps rays to points in the image plane, and back.

Both are normalized coordinates: a ray is (x/z, y/z), and an image point is ((u - cx) / fx, (v - cy) / fy). Without
distortion, they are equal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, get_args

import cv2
import numpy as np

from handpose.errors import HandPoseError, brief

LensModel = Literal["brown_conrady", "inverse_brown_conrady", "kannala_brandt"]
"""A distortion model.

`brown_conrady` is OpenCV's model, which ROS calls `plumb_bob` or `rational_polynomial`. `kannala_brandt` is the fisheye
model, in ROS `equidistant`. The depth cameras SR300 and SR305 have `inverse_brown_conrady`, whose polynomial removes
the distortion instead of adding it.
"""

COEFFICIENTS: dict[LensModel, tuple[int, ...]] = {
    "brown_conrady": (4, 5, 8, 12, 14),
    "inverse_brown_conrady": (4, 5),
    "kannala_brandt": (4,),
}
"""Supported numbers of coefficients."""

_EYE, _ZERO = np.eye(3), np.zeros(3)
_MAX_TANGENT = 3.0  # of the angle to the optical axis: 72 degrees
_ITERATIONS = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-12)
_undistort_points: Callable[..., np.ndarray] = getattr(
    cv2, "undistortPointsIter", cv2.undistortPoints
)  # OpenCV 4, OpenCV 5


@dataclass(frozen=True)
class Distortion:
    """The distortion of a lens.

    Attributes:
        model: Distortion model.
        coefficients: k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4, tx, ty in OpenCV's order, of which the first 4, 5,
            8, 12 or 14 are given; the four of OpenCV's fisheye model for `kannala_brandt`.

    Raises:
        HandPoseError: the model is unknown, or the coefficients do not belong to it.
    """

    model: LensModel
    coefficients: tuple[float, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.model, str) or self.model not in get_args(LensModel):
            raise HandPoseError(
                f"the lens model must be one of {', '.join(get_args(LensModel))}, got {brief(self.model)}; rectify the "
                "depth images first, and pass the intrinsics of the rectified images"
            )
        try:
            values = tuple(float(value) for value in self.coefficients)
        except (TypeError, ValueError, OverflowError):
            values = ()
        counts = COEFFICIENTS[self.model]
        if len(values) not in counts or not np.isfinite(values).all():
            raise HandPoseError(
                f"the lens model {self.model} has {' or '.join(map(str, counts))} finite coefficients, "
                f"got {brief(self.coefficients)}"
            )
        object.__setattr__(self, "coefficients", values)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return {"model": self.model, "coefficients": list(self.coefficients)}

    @classmethod
    def from_dict(cls, values: object) -> Distortion:
        """Create a distortion from the dictionary that `to_dict` returns."""
        given: dict[str, Any] = values if isinstance(values, dict) else {}
        try:
            return cls(given["model"], tuple(given["coefficients"]))
        except (KeyError, TypeError):
            raise HandPoseError(f"a distortion requires model and coefficients, got {brief(values)}") from None

    def distort(self, rays: np.ndarray) -> np.ndarray:
        """Return the image points (..., 2) of rays (..., 2).

        Beyond `limit`, where the polynomial is meaningless, the scale at the limit is used.
        """
        radius, _ = _limits(self)
        return _within(radius, rays, self._inverse if self.model == "inverse_brown_conrady" else self._polynomial)

    def undistort(self, imaged: np.ndarray) -> np.ndarray:
        """Return the rays (..., 2) of image points (..., 2): the inverse of `distort`."""
        _, radius = _limits(self)
        return _within(radius, imaged, self._polynomial if self.model == "inverse_brown_conrady" else self._inverse)

    @property
    def limit(self) -> float:
        """Normalized radius up to which different rays have different image points."""
        return _limits(self)[0]

    def _polynomial(self, points: np.ndarray) -> np.ndarray:
        """Apply the polynomial of the model to points (N, 2)."""
        coefficients = np.array(self.coefficients)
        if self.model == "kannala_brandt":
            return np.reshape(cv2.fisheye.distortPoints(points[:, None], _EYE, coefficients), (-1, 2))
        space = np.concatenate([points, np.ones((len(points), 1))], axis=1)
        return np.reshape(cv2.projectPoints(space, _ZERO, _ZERO, _EYE, coefficients)[0], (-1, 2))

    def _inverse(self, points: np.ndarray) -> np.ndarray:
        """Solve the polynomial of the model for points (N, 2)."""
        coefficients = np.array(self.coefficients)
        if self.model == "kannala_brandt":
            rays: np.ndarray = cv2.fisheye.undistortPoints(points[:, None], _EYE, coefficients, criteria=_ITERATIONS)
        else:
            rays = _undistort_points(points[:, None], _EYE, coefficients, R=_EYE, P=_EYE, criteria=_ITERATIONS)
        return rays.reshape(-1, 2)


def _within(limit: float, points: np.ndarray, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Apply a function to points (..., 2) within a radius, and its scale at the radius to those outside."""
    points = np.asarray(points, dtype=np.float64)
    flat = points.reshape(-1, 2)
    if not len(flat):
        return points
    scale = np.minimum(1.0, limit / np.maximum(np.linalg.norm(flat, axis=1), 1e-12))[:, None]
    result: np.ndarray = function(flat * scale) / scale
    return result.reshape(points.shape)


@lru_cache(maxsize=64)
def _limits(distortion: Distortion) -> tuple[float, float]:
    """Return the largest valid radius of rays and that of image points."""
    radii = np.linspace(0.0, _MAX_TANGENT, 601)
    results = np.linalg.norm(distortion._polynomial(np.stack([radii, 0 * radii], axis=1)), axis=1)
    folded = np.flatnonzero(np.diff(results) <= 0)
    last = int(folded[0]) if len(folded) else len(radii) - 1
    if not last:
        raise HandPoseError(f"the coefficients of the lens are invalid: {distortion.coefficients}")
    limits = float(radii[last]), float(results[last])
    return limits[::-1] if distortion.model == "inverse_brown_conrady" else limits
