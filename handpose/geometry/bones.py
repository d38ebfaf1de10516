"""Lengths of bones, and how far they are from a hand's."""

from __future__ import annotations

import numpy as np

from handpose.geometry.layouts import JointLayout


def bone_lengths(xyz: np.ndarray, layout: JointLayout) -> np.ndarray:
    """Lengths (..., B) of the layout's bones between joints `xyz` (..., J, 3)."""
    parents, children = np.array(layout.bones).T
    lengths: np.ndarray = np.linalg.norm(xyz[..., children, :] - xyz[..., parents, :], axis=-1)
    return lengths


def bone_deviation(xyz: np.ndarray, bones_mm: tuple[float, ...], layout: JointLayout) -> tuple[np.ndarray, np.ndarray]:
    """The hand's size (...,) as a multiple of the usual one, and how far each bone is off that, (..., B).

    A deviation is the absolute logarithm of a bone's length over the usual one's, times the hand's size: 0.1 is a
    bone of 10 % more or less than goes with the others.

    Args:
        xyz: (..., J, 3) joints, mm.
        bones_mm: usual lengths, in the order of the layout's `bones`.
        layout: of the joints.
    """
    ratio = np.log(np.maximum(bone_lengths(xyz, layout), 1.0) / bones_mm)
    size = np.median(ratio, axis=-1)
    return np.exp(size), np.abs(ratio - size[..., None])
