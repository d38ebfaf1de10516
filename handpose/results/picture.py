"""Pictures of all hands in an image, large enough to be read, with a legend."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from handpose.network.calibration import BAD_JOINT
from handpose.results.overlay import depth_picture, draw_pose
from handpose.results.pose import HandPose

_MIN_WIDTH = 960  # px
_DIMMED = 0.55  # brightness of the depth map, so that all bones are brighter
_FONT, _FONT_SIZE, _LINE_HEIGHT = cv2.FONT_HERSHEY_SIMPLEX, 0.65, 28


def draw_hands(depth: np.ndarray, poses: Sequence[HandPose]) -> np.ndarray:
    """Draw hands on top of their depth image, with a legend of side, distance and expected error.

    The image is enlarged by a whole number so that it is at least 960 px wide.

    Args:
        depth: (H, W) mm, 0 = missing.
        poses: The hands in the image, or poses without a hand.

    Returns:
        (H', W', 3) uint8 BGR.
    """
    scale = math.ceil(_MIN_WIDTH / depth.shape[1])
    hands = [pose for pose in poses if pose.status != "no_hand"]
    near = min((pose.center[2] - pose.cube / 2 for pose in hands), default=float("nan"))
    dimmed = (depth_picture(depth, near) * _DIMMED).astype(np.uint8)
    picture: np.ndarray = cv2.resize(dimmed, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
    center = np.array([0.5, 0.5, 0.0])  # of a pixel
    for pose in hands:
        uvz = (pose.uvz + center) * (scale, scale, 1.0) - center
        picture = draw_pose(*(depth, uvz, pose.layout), uncertain=pose.error_mm > BAD_JOINT, onto=picture, thickness=4)
    for row, text in enumerate(map(describe, hands or poses[:1]), 1):
        for color, width in (((0, 0, 0), 4), ((255, 255, 255), 1)):
            cv2.putText(picture, text, (12, row * _LINE_HEIGHT), _FONT, _FONT_SIZE, color, width, cv2.LINE_AA)
    return picture


def describe(pose: HandPose) -> str:
    """Return side, distance and expected error of a hand as a line of ASCII text."""
    if pose.status == "no_hand":
        return "no hand"
    error = np.mean(pose.error_mm)
    calibrated = "" if np.isnan(error) else f", +-{error:.0f} mm"
    uncertain = ", low confidence" if pose.status == "low_confidence" else ""
    return f"{pose.hand} hand at {pose.center[2]:.0f} mm{calibrated}{uncertain}"
