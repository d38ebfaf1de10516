"""Bone lengths, and how much they deviate from those of an average hand."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from handpose.geometry.layouts import JointLayout


def bone_lengths(xyz: np.ndarray, layout: JointLayout) -> np.ndarray:
    """Return the lengths (..., B) of the layout's bones between joints `xyz` (..., J, 3)."""
    parents, children = _ends(layout)
    lengths: np.ndarray = np.sqrt(np.square(xyz[..., children, :] - xyz[..., parents, :]).sum(axis=-1))
    return lengths


@lru_cache
def _ends(layout: JointLayout) -> np.ndarray:
    """Return the parents (B,) and the children (B,) of the bones."""
    ends: np.ndarray = np.array(layout.bones).T
    return ends


def along_bones(points: np.ndarray, layout: JointLayout, count: int) -> np.ndarray:
    """Return `count` equidistant points (count, B, D) along each bone between joints `points` (J, D)."""
    parents, children = _ends(layout)
    share = np.linspace(0.0, 1.0, count)[:, None, None]
    along: np.ndarray = points[parents] * (1.0 - share) + points[children] * share
    return along


def bone_deviation(xyz: np.ndarray, bones_mm: tuple[float, ...], layout: JointLayout) -> tuple[np.ndarray, np.ndarray]:
    """Return the hand size (...,) relative to an average hand, and the deviation (..., B) of each bone.

    The deviation is the absolute logarithm of the ratio between the bone length and the length that an average hand of
    this size has: 0.1 means a bone that is about 10% too long or too short for the hand.

    Args:
        xyz: (..., J, 3) joints, mm.
        bones_mm: Bone lengths of the average hand, in the order of the layout's `bones`.
        layout: Layout of the joints.
    """
    ratio = np.log(np.maximum(bone_lengths(xyz, layout), 1.0) / bones_mm)
    ascending, middle = np.sort(ratio, axis=-1), ratio.shape[-1] // 2
    median = (ascending[..., middle] + ascending[..., -1 - middle]) / 2  # `np.median` takes several times as long
    return np.exp(median), np.abs(ratio - median[..., None])
