"""Checks whether the image border cuts off a hand. The network then fits the whole hand into the visible part."""

from __future__ import annotations

import numpy as np

from handpose.results.pose import HandPose, PoseWarning

CUT_OFF = PoseWarning("border", "the image border cuts off the hand, so its joints may be wrong; show the whole hand")

_FLESH = 15.0  # mm from the bones of a hand to its surface, with some error
_FOREARM = 45.0  # mm around the root, where the forearm often reaches the border
_ALONG = np.linspace(0.0, 1.0, 6)[:, None, None]


def border_warnings(pose: HandPose, depth: np.ndarray) -> tuple[PoseWarning, ...]:
    """Return the warning that the image border cuts off a hand, elsewhere than at its forearm.

    A pixel at the border is part of the hand if it is within `_FLESH` of a predicted bone.

    Args:
        pose: The pose.
        depth: (H, W) mm, its image.
    """
    if pose.status == "no_hand" or not _is_near_border(pose, depth):
        return ()
    ends = pose.xyz[np.array(pose.layout.bones)]  # (B, 2, 3)
    bones = (ends[:, 0] * (1.0 - _ALONG) + ends[:, 1] * _ALONG).reshape(-1, 3)
    root = pose.xyz[pose.layout.parents.index(-1)]
    bones = bones[np.linalg.norm(bones - root, axis=1) > _FOREARM]
    height, width = depth.shape
    rows, columns = np.arange(height), np.arange(width)
    v = np.concatenate([np.zeros_like(columns), np.full_like(columns, height - 1), rows, rows])
    u = np.concatenate([columns, columns, np.zeros_like(rows), np.full_like(rows, width - 1)])
    z = depth[v, u].astype(np.float64)
    near = np.abs(z - pose.center[2]) < pose.cube / 2
    surface = pose.camera.unproject(np.stack([u[near], v[near], z[near]], axis=1))
    distances = np.linalg.norm(surface[:, None] - bones, axis=2)
    return (CUT_OFF,) if (distances < _FLESH).any() else ()


def _is_near_border(pose: HandPose, depth: np.ndarray) -> bool:
    """Return whether a joint is so close to the border of the image that a bone may be within `_FLESH` of it."""
    u, v, z = pose.uvz.T
    height, width = depth.shape
    margin = _FLESH * pose.camera.fx / max(z.min(), 1.0)
    return bool(u.min() < margin or v.min() < margin or u.max() > width - 1 - margin or v.max() > height - 1 - margin)
