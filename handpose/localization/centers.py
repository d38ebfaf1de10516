"""Hand centers from a bounding box or from a file."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from handpose.errors import HandPoseError
from handpose.geometry.camera import Camera
from handpose.io.text import MAX_LABELS_BYTES, read_text
from handpose.localization.localizer import HAND_LENGTH
from handpose.localization.network import FARTHEST, NEAREST

FARTHEST_IN_BOX = 3 * FARTHEST
"""Distance in mm up to which a given box may contain a hand."""


def center_in_box(depth: np.ndarray, camera: Camera, box: tuple[float, float, float, float]) -> np.ndarray | None:
    """Return the center (3,), in mm in the camera frame, of the nearest surface inside a bounding box.

    Args:
        depth: (H, W) in mm, 0 = no depth value.
        camera: Intrinsics of `depth`.
        box: x, y, width, height in px.

    Returns:
        The center, or None if the box contains no depth value in range.

    Raises:
        HandPoseError: The box is not finite or has no area.
    """
    window = pixels_in_box(depth, box)
    v, u = np.nonzero((window > NEAREST) & (window < FARTHEST_IN_BOX))
    if len(u) == 0:
        return None
    z = window[v, u].astype(np.float64)
    # The hand fills a large part of its box and is nearer than the background.
    hand = z < np.percentile(z, 5) + 0.8 * HAND_LENGTH
    left, top = _first_pixel(box)
    points = camera.unproject(np.stack([u[hand] + left, v[hand] + top, z[hand]], axis=-1))
    return points.mean(axis=0)  # type: ignore[no-any-return]


def pixels_in_box(depth: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
    """Return the part (h, w) of an image that lies in a bounding box; it is empty if the box is outside of the image.

    Args:
        depth: (H, W) in mm, 0 = no depth value.
        box: x, y, width, height in px.

    Raises:
        HandPoseError: The box is not finite or has no area.
    """
    x, y, width, height = box
    if not (np.abs(box) <= 1e9).all() or width <= 0 or height <= 0:
        raise HandPoseError(f"a box is x, y, width, height in px with a positive size, got {box}")
    left, top = _first_pixel(box)
    window: np.ndarray = depth[top : max(0, round(y + height)), left : max(0, round(x + width))]
    return window


def _first_pixel(box: tuple[float, float, float, float]) -> tuple[int, int]:
    """Return the column and the row of the first pixel of a box in the image."""
    return max(0, round(box[0])), max(0, round(box[1]))


def read_centers(path: str | Path, *, y_up: bool) -> np.ndarray:
    """Read hand centers (N, 3), in mm in the camera frame, from a text file with `x y z` or `invalid` on each line.

    The authors of V2V-PoseNet published their refined centers in this format. Invalid centers become NaN.

    Args:
        path: Text file.
        y_up: Whether the y axis of the file points up, as in the NYU and MSRA files. In the ICVL files it points down.

    Raises:
        HandPoseError: A line contains neither three numbers nor `invalid`.
    """
    path = Path(path)
    centers = []
    for number, line in enumerate(read_text(path, MAX_LABELS_BYTES).rstrip().splitlines(), 1):
        words = line.split()
        if words and words[0].lower() == "invalid":
            centers.append([np.nan] * 3)
            continue
        try:
            x, y, z = center = [float(word) for word in words]
        except ValueError:
            center = [math.nan]
        if not all(map(math.isfinite, center)):
            raise HandPoseError(f"{path}, line {number}: expected x y z in mm or invalid, got {line[:60]!r}")
        centers.append([x, -y if y_up else y, z])
    return np.array(centers).reshape(-1, 3)
