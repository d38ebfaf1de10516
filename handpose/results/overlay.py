"""Draws a dark depth image with skeletons on top, one bright color per finger."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from handpose.geometry.layouts import FINGERS, JointLayout

FINGER_COLORS = dict(
    zip(FINGERS, ((80, 80, 255), (40, 170, 255), (90, 230, 90), (255, 200, 60), (240, 110, 220)), strict=True)
)
"""BGR colors of the fingers. The depth map has none of them, since its shades are dark and nearly gray."""

_PALM_COLOR = (255, 255, 255)
_OUTLINE = (20, 20, 20)
_MIN_WIDTH = 960  # px
_RANGE = 600.0  # mm between the brightest and the darkest shade
_BRIGHTEST, _DARKEST = 170.0, 45.0
_TINT = (1.0, 0.86, 0.74)  # BGR
_SUBPIXEL = 4  # bits: coordinates for cv2 are in sixteenths of a pixel


def joint_colors(layout: JointLayout) -> list[tuple[int, int, int]]:
    """Return the BGR color of each joint, and of the bone that ends in it."""
    colors = [_PALM_COLOR] * len(layout)
    for finger, joints in layout.fingers.items():
        for joint in joints:
            colors[joint] = FINGER_COLORS[finger]
    return colors


def depth_picture(depth: np.ndarray, near: float = float("nan")) -> np.ndarray:
    """Draw a depth image as (H, W, 3) uint8 BGR: near pixels are bright, far ones dark, missing ones black.

    Args:
        depth: (H, W) mm, 0 = missing.
        near: Depth of the brightest shade, mm; by default the 1st percentile of the depth values.
    """
    valid = depth > 0
    if not np.isfinite(near):
        near = float(np.percentile(depth[valid], 1)) if valid.any() else 0.0
    shade = _BRIGHTEST + (_DARKEST - _BRIGHTEST) * np.clip((depth - near) / _RANGE, 0.0, 1.0)
    shade[~valid] = 0
    picture: np.ndarray = (shade[..., None] * _TINT).astype(np.uint8)
    return picture


def enlarged_depth_picture(depth: np.ndarray, near: float = float("nan")) -> tuple[np.ndarray, int]:
    """Draw a depth image like `depth_picture`, enlarged by a whole number to a width of at least 960 px.

    Returns:
        The picture, and the number by which it is enlarged.
    """
    scale = math.ceil(_MIN_WIDTH / depth.shape[1])
    picture = depth_picture(depth, near)
    return cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST), scale


def draw_skeleton(
    picture: np.ndarray, uvz: np.ndarray, layout: JointLayout, *, scale: int = 1, uncertain: np.ndarray | None = None
) -> None:
    """Draw a skeleton onto a picture, in place. The width of its bones depends only on that of the picture.

    Args:
        picture: (H, W, 3) uint8 BGR.
        uvz: (J, 3) joints in pixels of the depth image.
        layout: Layout of the joints.
        scale: Number by which the picture is larger than the depth image.
        uncertain: (J,) bool, joints to draw as hollow circles; by default none.
    """
    thickness = max(2, round(picture.shape[1] / 240))
    colors = joint_colors(layout)
    pixels = (uvz[:, :2] + 0.5) * scale - 0.5  # the center of the first pixel is 0 at any scale
    points = (pixels * (1 << _SUBPIXEL)).round().astype(int)
    order = np.argsort(-uvz[:, 2])  # from far to near, so that near joints cover far ones
    bones = {child: parent for parent, child in layout.bones}
    for joint in order:
        if joint in bones:
            ends = (points[bones[joint]].tolist(), points[joint].tolist())
            cv2.line(picture, *ends, _OUTLINE, thickness + 2, cv2.LINE_AA, _SUBPIXEL)
            cv2.line(picture, *ends, colors[joint], thickness, cv2.LINE_AA, _SUBPIXEL)
    for joint in order:
        discs = [(thickness + 0.8, _OUTLINE), (thickness, colors[joint])]
        if uncertain is not None and uncertain[joint]:
            discs = [(thickness + 2.8, _OUTLINE), (thickness + 2, colors[joint]), (thickness, _OUTLINE)]
        for radius, color in discs:
            size = round(radius * (1 << _SUBPIXEL))
            cv2.circle(picture, points[joint].tolist(), size, color, -1, cv2.LINE_AA, _SUBPIXEL)


def skeleton_picture(xyz: np.ndarray, layout: JointLayout) -> np.ndarray:
    """Draw a hand without its depth image: as the camera sees it, and from the camera's right.

    Args:
        xyz: (J, 3) mm, camera frame.
        layout: Layout of the joints.

    Returns:
        (480, 960, 3) uint8 BGR.
    """
    side = _MIN_WIDTH // 2
    picture = np.zeros((side, _MIN_WIDTH, 3), np.uint8)
    middle = (xyz.min(axis=0) + xyz.max(axis=0)) / 2
    x, y, z = (0.8 * side / max(np.ptp(xyz, axis=0).max(), 1.0) * (xyz - middle)).T
    for u, v, depth in ((x + side / 2, y, z), (z + 1.5 * side, y, -x)):
        draw_skeleton(picture, np.stack([u, v + side / 2, depth], axis=1), layout)
    return picture


def write_legend(picture: np.ndarray, lines: Sequence[str]) -> None:
    """Write lines of text into the lower left corner of a picture, in place."""
    size = picture.shape[1] / _MIN_WIDTH
    edges = [(x, y, _OUTLINE) for x in (-1, 1) for y in (-1, 1)]
    for row, line in enumerate(reversed(lines)):
        text = line.replace("±", "+-")  # OpenCV's fonts contain only ASCII
        for x, y, color in (*edges, (0, 0, _PALM_COLOR)):
            position = (round(12 * size) + x, picture.shape[0] - round((14 + 28 * row) * size) + y)
            cv2.putText(picture, text, position, cv2.FONT_HERSHEY_SIMPLEX, 0.65 * size, color, round(size), cv2.LINE_AA)
