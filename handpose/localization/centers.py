"""Hand centres that somebody else chose: in a box, or in a file."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from handpose.errors import HandPoseError
from handpose.geometry.camera import Camera
from handpose.io.text import LABELS, read_text
from handpose.localization.localizer import HAND
from handpose.localization.network import FARTHEST, NEAREST


def center_in_box(depth: np.ndarray, camera: Camera, box: tuple[float, float, float, float]) -> np.ndarray | None:
    """The centre (3,) of the nearest surface inside `box` (x, y, width, height in px), or none if it is empty."""
    x, y, width, height = box
    if not (np.abs(box) <= 1e9).all() or width <= 0 or height <= 0:
        raise HandPoseError(f"a box is x, y, width, height in px with a size above 0, got {box}")
    left, top = max(0, round(x)), max(0, round(y))
    window = depth[top : max(0, round(y + height)), left : max(0, round(x + width))]
    v, u = np.nonzero((window > NEAREST) & (window < 3 * FARTHEST))
    if len(u) == 0:
        return None
    z = window[v, u].astype(np.float64)
    # The hand fills a good part of its box and lies before what is behind it.
    hand = z < np.percentile(z, 5) + HAND * 0.8
    points = camera.unproject(np.stack([u[hand] + left, v[hand] + top, z[hand]], axis=-1))
    return points.mean(axis=0)  # type: ignore[no-any-return]


def read_centers(path: str | Path, *, y_up: bool) -> np.ndarray:
    """Hand centres (N, 3) in mm, camera frame, from a text file with `x y z` per line, NaN where a line says `invalid`.

    This is the format of the refined centres that V2V-PoseNet published.

    Args:
        path: the file.
        y_up: the file's y axis points up, as in the NYU and MSRA files; ICVL's points down.

    Raises:
        HandPoseError: a line is neither three numbers nor `invalid`.
    """
    path = Path(path)
    centres = []
    for number, line in enumerate(read_text(path, LABELS).rstrip().splitlines(), 1):
        words = line.split()
        if words and words[0].lower() == "invalid":
            centres.append([np.nan] * 3)
            continue
        try:
            x, y, z = centre = [float(word) for word in words]
        except ValueError:
            centre = [math.nan]
        if not all(map(math.isfinite, centre)):
            raise HandPoseError(f"{path}, line {number}: expected x y z in mm or invalid, got {line[:60]!r}")
        centres.append([x, -y if y_up else y, z])
    return np.array(centres).reshape(-1, 3)
