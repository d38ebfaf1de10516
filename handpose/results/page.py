"""Writes a pose as a self-contained web page with an interactive 3D view."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from handpose.errors import HandPoseError
from handpose.geometry.crop import surface_in_cube
from handpose.geometry.rectification import rectify
from handpose.results.overlay import joint_colors
from handpose.results.pose import HandPose, check_image

_MAX_POINTS = 12_000  # if there are more, only every second, third, ... row and column is shown
_TEMPLATE = Path(__file__).with_name("page.html")


def pose_page(pose: HandPose, depth: np.ndarray) -> str:
    """Return a self-contained HTML page that shows the hand in 3D.

    Its element `hand` contains, as JSON, the record `pose.to_dict()`, the `parents` and `colors` of the joints, and
    the `points` of the depth image within the cube of the pose: x, y, z in mm, camera frame, as a flat list.

    Args:
        pose: Pose of the hand.
        depth: (H, W) mm, the image that it was predicted from, 0 = missing.

    Raises:
        HandPoseError: the image shows no hand, or `depth` is not of its size.
    """
    check_image(pose, depth)
    if pose.status == "no_hand":
        raise HandPoseError("no hand was found in this image, so there is nothing to show in 3D")
    content = {
        "pose": pose.to_dict(),
        "parents": pose.layout.parents,
        "colors": [f"rgb({red},{green},{blue})" for blue, green, red in joint_colors(pose.layout)],
        "points": np.round(_points(pose, depth), 1).ravel().tolist(),
    }
    # File names may contain any text, so the record must not be able to close its element.
    data = json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")
    return _TEMPLATE.read_text(encoding="utf-8").replace("{{HAND}}", data)


def _points(pose: HandPose, depth: np.ndarray) -> np.ndarray:
    """Return the points xyz (N, 3) in mm within the cube of the pose, thinned to a grid of pixels."""
    depth, camera = rectify(depth, pose.camera)
    pixels, points = surface_in_cube(depth, camera, pose.center, pose.cube)
    step = int(np.ceil(np.sqrt(len(points) / _MAX_POINTS))) or 1
    thinned: np.ndarray = points[(pixels % step == 0).all(axis=1)]
    return thinned
