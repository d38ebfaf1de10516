"""The field's common text format of predictions: one frame per line, J times `u v d`, in pixels and mm.

The public collection of results (github.com/xinghaochen/awesome-hand-pose-estimation) and most authors use it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from handpose.errors import HandPoseError
from handpose.geometry.camera import CAMERAS, Camera
from handpose.geometry.layouts import ICVL16, MSRA21, NYU14, JointLayout
from handpose.io.text import LABELS, read_text

EVALUATORS: dict[str, tuple[JointLayout, Camera]] = {
    "nyu": (NYU14, CAMERAS["nyu"]),
    "icvl": (ICVL16, Camera(240.99, 240.96, 160.0, 120.0, 320, 240)),  # not the 241.42 that the images came with
    "msra": (MSRA21, CAMERAS["msra"]),
}
"""Joints and intrinsics with which each data set's published errors are computed."""


def read_predictions(path: str | Path, layout: JointLayout) -> np.ndarray:
    """Joints `uvz` (N, J, 3) [px, px, mm] of a text file; NaN (written `nan`) where there is no prediction.

    Raises:
        HandPoseError: the file cannot be read, or a line does not hold the layout's joints.
    """
    path = Path(path)
    lines = read_text(path, LABELS).rstrip().splitlines()
    if not lines:
        raise HandPoseError(f"{path}: expected a line of {len(layout)} x (u v d) per frame, got an empty file")
    return np.array([_parse(line, layout, f"{path}:{i}") for i, line in enumerate(lines, start=1)])


def read_ground_truth(path: str | Path, layout: JointLayout) -> np.ndarray:
    """True joints `uvz` (N, J, 3) [px, px, mm] of a text file, every one of them there and in front of the camera.

    Raises:
        HandPoseError: as `read_predictions`, or a joint is no number or not in front of the camera.
    """
    uvz = read_predictions(path, layout)
    unusable = np.flatnonzero(~(np.isfinite(uvz).all(axis=(1, 2)) & (uvz[..., 2] > 0).all(axis=1)))
    if len(unusable):
        raise HandPoseError(
            f"{path}:{unusable[0] + 1}: expected true joints as pixels and depths above 0 mm, got "
            f"{prediction_line(uvz[unusable[0]][:1])} ...; coordinates in mm (x y z) must be projected first"
        )
    return uvz


def write_predictions(path: str | Path, frames: Iterable[np.ndarray]) -> None:
    """Writes joints `uvz` (J, 3) [px, px, mm], frame by frame, with three decimals; NaN where there is no prediction.

    Raises:
        HandPoseError: the file cannot be written.
    """
    try:
        with Path(path).open("w", encoding="utf-8") as file:
            file.writelines(prediction_line(uvz) + "\n" for uvz in frames)
    except OSError as error:
        raise HandPoseError(f"{path}: cannot be written ({error})") from None


def _parse(line: str, layout: JointLayout, place: str) -> np.ndarray:
    words = line.split()
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = [math.inf]
    if math.inf in map(abs, numbers):
        raise HandPoseError(f"{place}: expected numbers with spaces between them (nan for none), got {line[:60]!r}")
    if len(numbers) == 3 * len(layout):
        return np.reshape(numbers, (-1, 3))
    others = [name for name, (other, _) in EVALUATORS.items() if 3 * len(other) == len(numbers)]
    raise HandPoseError(
        f"{place}: expected {len(layout)} joints ({3 * len(layout)} numbers, u v d each) of {layout.name}, got "
        f"{len(numbers)} numbers" + "".join(f"; these may be {name}'s joints" for name in others)
    )


def prediction_line(uvz: np.ndarray) -> str:
    """A frame's joints `uvz` (J, 3) [px, px, mm] as a line of the format, without its end."""
    return " ".join("nan" if math.isnan(number) else f"{number:.3f}" for number in np.ravel(uvz).tolist())
