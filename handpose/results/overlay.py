"""Pictures: a depth image in shades of blue with the skeleton over it, fingers in colours."""

from __future__ import annotations

import cv2
import numpy as np

from handpose.geometry.layouts import FINGERS, JointLayout

FINGER_COLOURS = dict(
    zip(FINGERS, ((66, 66, 235), (40, 160, 250), (80, 200, 80), (230, 170, 50), (220, 90, 190)), strict=True)
)
"""BGR, thumb to pinky."""

_PALM_COLOUR = (235, 235, 235)
_OUTLINE = (20, 20, 20)
_RANGE = 600.0  # mm from the nearest colour to the farthest
_NEAREST, _FARTHEST = 235.0, 80.0  # of the 256 colours of a map that goes from black over blue to white
_SUBPIXEL = 4  # cv2 draws with coordinates in sixteenths of a pixel


def joint_colours(layout: JointLayout) -> list[tuple[int, int, int]]:
    """BGR of each joint, and of the bone that ends in it: its finger's, or the palm's."""
    colours = [_PALM_COLOUR] * len(layout)
    for finger, joints in layout.fingers.items():
        for joint in joints:
            colours[joint] = FINGER_COLOURS[finger]
    return colours


def depth_picture(depth: np.ndarray, near: float = float("nan")) -> np.ndarray:
    """A depth image (H, W) mm as (H, W, 3) uint8 BGR: near is white, far a dark blue, no reading black.

    Args:
        depth: mm, 0 = no reading.
        near: the depth shown brightest, mm; by default the nearest reading but for a few.
    """
    seen = depth > 0
    if not np.isfinite(near):
        near = float(np.percentile(depth[seen], 1)) if seen.any() else 0.0
    shade = _NEAREST + (_FARTHEST - _NEAREST) * np.clip((depth - near) / _RANGE, 0.0, 1.0)
    picture: np.ndarray = cv2.applyColorMap(shade.astype(np.uint8), cv2.COLORMAP_OCEAN)
    picture[~seen] = 0
    return picture


def draw_pose(
    depth: np.ndarray,
    uvz: np.ndarray,
    layout: JointLayout,
    near: float = float("nan"),
    uncertain: np.ndarray | None = None,
) -> np.ndarray:
    """The skeleton over the depth image.

    Args:
        depth: (H, W) mm, 0 = no reading.
        uvz: (J, 3) joints in its pixels; NaN joints are left out.
        layout: of the joints.
        near: see `depth_picture`.
        uncertain: (J,) bool, which joints to draw hollow; by default none.

    Returns:
        (H, W, 3) uint8 BGR.
    """
    picture = depth_picture(depth, near)
    there = np.isfinite(uvz).all(axis=1)
    if not there.any():
        return picture
    extent = np.ptp(uvz[there, :2], axis=0).max()
    thickness = int(np.clip(extent / 70.0, 1, 6))
    colours = joint_colours(layout)
    points = np.where(there[:, None], uvz[:, :2] * (1 << _SUBPIXEL), 0).round().astype(int)
    order = np.argsort(-np.where(there, uvz[:, 2], np.inf))  # far ones first, near ones over them
    bones = {child: parent for parent, child in layout.bones}
    for joint in order:
        if there[joint] and joint in bones and there[bones[joint]]:
            ends = (points[bones[joint]].tolist(), points[joint].tolist())
            cv2.line(picture, *ends, _OUTLINE, thickness + 2, cv2.LINE_AA, _SUBPIXEL)
            cv2.line(picture, *ends, colours[joint], thickness, cv2.LINE_AA, _SUBPIXEL)
    for joint in order:
        if there[joint]:
            discs = [(thickness + 0.8, _OUTLINE), (thickness, colours[joint])]
            if uncertain is not None and uncertain[joint]:
                discs = [(thickness + 2.8, _OUTLINE), (thickness + 2, colours[joint]), (thickness, _OUTLINE)]
            for radius, colour in discs:
                size = round(radius * (1 << _SUBPIXEL))
                cv2.circle(picture, points[joint].tolist(), size, colour, -1, cv2.LINE_AA, _SUBPIXEL)
    return picture
