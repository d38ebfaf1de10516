"""The standard text format of predictions: one frame per line, with `u v d` of each joint in px, px, mm.

Most authors and the public collection of results (github.com/xinghaochen/awesome-hand-pose-estimation) use it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from handpose.errors import HandPoseError
from handpose.geometry.camera import CAMERAS, Camera
from handpose.geometry.layouts import ICVL16, MSRA21, NYU14, JointLayout
from handpose.io.arguments import numbers
from handpose.io.outputs import refuse_existing, write_output
from handpose.io.text import MAX_LABELS_BYTES, read_text

EVALUATORS: dict[str, tuple[JointLayout, Camera]] = {
    "nyu": (NYU14, CAMERAS["nyu"]),
    "icvl": (ICVL16, Camera(240.99, 240.96, 160.0, 120.0, 320, 240)),  # unlike the 241.42 of the images
    "msra": (MSRA21, CAMERAS["msra"]),
}
"""Joints and intrinsics that the published errors of each data set are computed with."""


_MIN_MM = 10.0  # a depth below this is not in mm


def read_predictions(path: str | Path, layout: JointLayout) -> np.ndarray:
    """Read joints `uvz` (N, J, 3) [px, px, mm] from a text file; NaN (`nan`) marks missing predictions.

    Raises:
        HandPoseError: the file cannot be read, or a line does not contain the joints of the layout.
    """
    path = Path(path)
    lines = read_text(path, MAX_LABELS_BYTES).rstrip().splitlines()
    if not lines:
        raise HandPoseError(f"{path}: expected a line of {len(layout)} x (u v d) per frame, got an empty file")
    return np.array([_parse(line, layout, f"{path}:{i}") for i, line in enumerate(lines, start=1)])


def without_zeros(uvz: np.ndarray) -> np.ndarray:
    """Return joints with NaN where the depth is not above 0, which many files contain for missing joints."""
    return np.where(uvz[..., 2:] > 0, uvz, np.nan)


def read_ground_truth(path: str | Path, layout: JointLayout) -> np.ndarray:
    """Read the true joints `uvz` (N, J, 3) [px, px, mm] from a text file.

    Raises:
        HandPoseError: the file cannot be read, a line does not contain the joints of the layout, or a joint is missing
            or not in front of the camera.
    """
    uvz = read_predictions(path, layout)
    invalid = np.flatnonzero(~(np.isfinite(uvz).all(axis=(1, 2)) & (uvz[..., 2] > 0).all(axis=1)))
    if len(invalid):
        raise HandPoseError(
            f"{path}:{invalid[0] + 1}: expected true joints as pixels and depths above 0 mm, got "
            f"{prediction_line(uvz[invalid[0]][:1])} ...; coordinates in mm (x y z) must be projected first"
        )
    return uvz


def write_predictions(path: str | Path, frames: Iterable[np.ndarray], *, force: bool = False) -> None:
    """Write joints `uvz` (J, 3) [px, px, mm] of each frame with three decimals; NaN marks missing predictions.

    An existing file is overwritten only with `force`.

    Raises:
        HandPoseError: the file exists or cannot be written, the frames are not joints (J, 3) with the same J, or depths
            are not in mm.
    """
    refuse_existing(path, force=force)
    lines = []
    shape: tuple[int, ...] = ()
    for i, frame in enumerate(frames):
        uvz = numbers(frame)
        if uvz.ndim != 2 or uvz.shape[1] != 3 or uvz.shape != (shape or uvz.shape):
            others = f", and {shape} before" if shape else "; pass pose.uvz of each pose"
            raise HandPoseError(f"frame {i}: expected joints (J, 3) of one layout, got shape {uvz.shape}{others}")
        shape = uvz.shape
        _check_mm(uvz, i)
        lines.append(prediction_line(uvz) + "\n")
    write_output(path, "".join(lines).encode(), force=force)


def _check_mm(uvz: np.ndarray, frame: int) -> None:
    """Check that a frame is not in meters; three decimals would not even preserve it."""
    depths = uvz[:, 2]
    if (depths > 0).any() and not (depths > _MIN_MM).any():
        raise HandPoseError(
            f"frame {frame}: expected depths in mm, got {np.nanmax(depths):.4g} and less; multiply meters by 1000"
        )


def _parse(line: str, layout: JointLayout, location: str) -> np.ndarray:
    words = line.split()
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = [math.inf]
    if math.inf in map(abs, numbers):
        raise HandPoseError(f"{location}: expected numbers separated by spaces (nan if missing), got {line[:60]!r}")
    if len(numbers) == 3 * len(layout):
        return np.reshape(numbers, (-1, 3))
    others = [name for name, (other, _) in EVALUATORS.items() if 3 * len(other) == len(numbers)]
    raise HandPoseError(
        f"{location}: expected {len(layout)} joints ({3 * len(layout)} numbers, u v d each) of {layout.name}, got "
        f"{len(numbers)} numbers" + "".join(f"; these may be the joints of {name}" for name in others)
    )


def prediction_line(uvz: np.ndarray) -> str:
    """Return joints `uvz` (J, 3) [px, px, mm] as a line of the format, without a line break."""
    return " ".join("nan" if math.isnan(number) else f"{number:.3f}" for number in np.ravel(uvz).tolist())
