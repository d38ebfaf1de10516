"""Draws a depth image in shades of blue with the skeleton on top, one color per finger."""

from __future__ import annotations

import cv2
import numpy as np

from handpose.geometry.layouts import FINGERS, JointLayout

FINGER_COLORS = dict(
    zip(FINGERS, ((66, 66, 235), (40, 160, 250), (80, 200, 80), (230, 170, 50), (220, 90, 190)), strict=True)
)
"""BGR colors of the fingers."""

_PALM_COLOR = (235, 235, 235)
_OUTLINE = (20, 20, 20)
_RANGE = 600.0  # mm between the brightest and the darkest color
_BRIGHTEST, _DARKEST = 235.0, 80.0  # indices of the color map, which goes from black over blue to white
_SUBPIXEL = 4  # bits: coordinates for cv2 are in sixteenths of a pixel


def joint_colors(layout: JointLayout) -> list[tuple[int, int, int]]:
    """Return the BGR color of each joint, and of the bone that ends in it."""
    colors = [_PALM_COLOR] * len(layout)
    for finger, joints in layout.fingers.items():
        for joint in joints:
            colors[joint] = FINGER_COLORS[finger]
    return colors


def depth_picture(depth: np.ndarray, near: float = float("nan")) -> np.ndarray:
    """Draw a depth image as (H, W, 3) uint8 BGR: near pixels are white, far ones dark blue, missing ones black.

    Args:
        depth: (H, W) mm, 0 = missing.
        near: Depth of the brightest color, mm; by default the 1st percentile of the depth values.
    """
    valid = depth > 0
    if not np.isfinite(near):
        near = float(np.percentile(depth[valid], 1)) if valid.any() else 0.0
    shade = _BRIGHTEST + (_DARKEST - _BRIGHTEST) * np.clip((depth - near) / _RANGE, 0.0, 1.0)
    picture: np.ndarray = cv2.applyColorMap(shade.astype(np.uint8), cv2.COLORMAP_OCEAN)
    picture[~valid] = 0
    return picture


def draw_pose(
    depth: np.ndarray,
    uvz: np.ndarray,
    layout: JointLayout,
    near: float = float("nan"),
    uncertain: np.ndarray | None = None,
    onto: np.ndarray | None = None,
    thickness: int | None = None,
) -> np.ndarray:
    """Draw the skeleton on top of the depth image.

    Args:
        depth: (H, W) mm, 0 = missing.
        uvz: (J, 3) joints in pixels of the image; NaN joints are omitted.
        layout: Layout of the joints.
        near: Depth of the brightest color, as in `depth_picture`.
        uncertain: (J,) bool, joints to draw as hollow circles; by default none.
        onto: (H, W, 3) uint8 BGR, a picture to draw on instead of the depth image.
        thickness: Width of the bones in px; by default, it grows with the hand.

    Returns:
        (H, W, 3) uint8 BGR.
    """
    picture = depth_picture(depth, near) if onto is None else onto.copy()
    known = np.isfinite(uvz).all(axis=1)
    if not known.any():
        return picture
    extent = np.ptp(uvz[known, :2], axis=0).max()
    thickness = thickness or int(np.clip(extent / 70.0, 1, 6))
    colors = joint_colors(layout)
    points = np.where(known[:, None], uvz[:, :2] * (1 << _SUBPIXEL), 0).round().astype(int)
    order = np.argsort(-np.where(known, uvz[:, 2], np.inf))  # from far to near, so that near joints cover far ones
    bones = {child: parent for parent, child in layout.bones}
    for joint in order:
        if known[joint] and joint in bones and known[bones[joint]]:
            ends = (points[bones[joint]].tolist(), points[joint].tolist())
            cv2.line(picture, *ends, _OUTLINE, thickness + 2, cv2.LINE_AA, _SUBPIXEL)
            cv2.line(picture, *ends, colors[joint], thickness, cv2.LINE_AA, _SUBPIXEL)
    for joint in order:
        if known[joint]:
            discs = [(thickness + 0.8, _OUTLINE), (thickness, colors[joint])]
            if uncertain is not None and uncertain[joint]:
                discs = [(thickness + 2.8, _OUTLINE), (thickness + 2, colors[joint]), (thickness, _OUTLINE)]
            for radius, color in discs:
                size = round(radius * (1 << _SUBPIXEL))
                cv2.circle(picture, points[joint].tolist(), size, color, -1, cv2.LINE_AA, _SUBPIXEL)
    return picture
