"""One pose as a page that turns: depth points and skeleton in 3D, in a file that needs no other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from handpose.errors import HandPoseError
from handpose.results.overlay import joint_colours
from handpose.results.pose import HandPose

_POINTS = 12_000  # above which every second, third, ... row and column is shown
_TEMPLATE = Path(__file__).with_name("page.html")


def pose_page(pose: HandPose, depth: np.ndarray) -> str:
    """An HTML page that shows the hand in 3D and loads nothing: drag turns, the wheel zooms, joints tell their names.

    Its element `hand` holds, as JSON, the record `pose.to_dict()`, the `parents` and `colours` of the joints, and
    `points`, the depth readings within the pose's cube: x, y, z in mm, camera frame, one after the other.

    Args:
        pose: of the hand.
        depth: the image (H, W) mm it was found in, 0 = no reading.

    Raises:
        HandPoseError: the pose is of no hand.
    """
    if pose.status == "no_hand":
        raise HandPoseError("no hand was found in this image, so that there is nothing to show in 3D")
    content = {
        "pose": pose.to_dict(),
        "parents": pose.layout.parents,
        "colours": [f"rgb({red},{green},{blue})" for blue, green, red in joint_colours(pose.layout)],
        "points": np.round(_points(pose, depth), 1).ravel().tolist(),
    }
    # A name may hold anything, so that nothing in the record may end its element.
    data = json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")
    return _TEMPLATE.read_text(encoding="utf-8").replace("{{HAND}}", data)


def _points(pose: HandPose, depth: np.ndarray) -> np.ndarray:
    """The readings within the pose's cube, thinned to a grid of pixels, xyz (N, 3) mm."""
    v, u = np.nonzero(depth)
    xyz = pose.camera.unproject(np.stack([u, v, depth[v, u]], axis=-1))
    inside = (np.abs(xyz - pose.center) <= pose.cube / 2).all(axis=1)
    step = int(np.ceil(np.sqrt(inside.sum() / _POINTS))) or 1
    points: np.ndarray = xyz[inside & (u % step == 0) & (v % step == 0)]
    return points
