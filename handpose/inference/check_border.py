"""Checks whether the image border cuts off a hand. The network then fits the whole hand into the visible part."""

from __future__ import annotations

import numpy as np

from handpose.geometry.bones import along_bones
from handpose.results.pose import HandPose, PoseWarning

CUT_OFF = PoseWarning("border", "the image border cuts off the hand, so its joints may be wrong; show the whole hand")

MOSTLY_CUT_OFF = 0.25
"""Share of the bones at the border above which the pose is doubtful.

In synthetic validation images of which a border cuts off up to 45% of the hand, two thirds of the poses that are more
than 20 mm off are above, and an eighth of those that are less than 15 mm off.
"""

_FLESH = 15.0  # mm from the bones of a hand to its surface, with some error
_FOREARM = 45.0  # mm around the root, where the forearm often reaches the border


def share_at_border(pose: HandPose, depth: np.ndarray) -> float:
    """Return the share of the bones of a hand that the image border cuts off, elsewhere than at the forearm.

    These are the bones within `_FLESH` of a surface at the border. The more they are, the more of the hand is missing.

    Args:
        pose: The pose.
        depth: (H, W) mm, its image.
    """
    if pose.status == "no_hand" or not _is_near_border(pose, depth):
        return 0.0
    bones = along_bones(pose.xyz, pose.layout, 6)
    root = pose.xyz[pose.layout.parents.index(-1)]
    height, width = depth.shape
    rows, columns = np.arange(height), np.arange(width)
    v = np.concatenate([np.zeros_like(columns), np.full_like(columns, height - 1), rows, rows])
    u = np.concatenate([columns, columns, np.zeros_like(rows), np.full_like(rows, width - 1)])
    surface = pose.camera.unproject(np.stack([u, v, depth[v, u]], axis=1))
    surface = surface[(np.abs(surface - pose.center) < pose.cube / 2).all(axis=1)]
    touched = (np.linalg.norm(surface[:, None, None] - bones, axis=3) < _FLESH).any(axis=0)
    touched &= np.linalg.norm(bones - root, axis=2) > _FOREARM
    return float(touched.any(axis=0).mean())


def _is_near_border(pose: HandPose, depth: np.ndarray) -> bool:
    """Return whether a joint is so close to the border of the image that a bone may be within `_FLESH` of it."""
    u, v, z = pose.uvz.T
    height, width = depth.shape
    margin = _FLESH * pose.camera.fx / max(z.min(), 1.0)
    return bool(u.min() < margin or v.min() < margin or u.max() > width - 1 - margin or v.max() > height - 1 - margin)
