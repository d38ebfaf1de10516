"""Corrections of systematic mistakes in joints, which the checks of labels and of predictions try."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from handpose.geometry.camera import Camera
from handpose.geometry.layouts import JointLayout

Change = Callable[[np.ndarray, Camera], np.ndarray]
"""Corrects one kind of mistake in joints uvz (..., J, 3), given the camera."""

AGREES_MM = 25.0
"""Mean distance of two sets of joints below which they agree, so that neither has a systematic mistake."""

MUCH_SMALLER = 0.6
"""Ratio of the distances after and before a change below which the change corrects a mistake."""


def in_mm(change: Callable[[np.ndarray], np.ndarray]) -> Change:
    """Return the change of uvz that corresponds to a change of xyz."""
    return lambda uvz, camera: camera.project(_in_front(change(camera.unproject(uvz))))


def scaled(factor: float) -> Change:
    """Return the change of a length unit, which does not move joints in the image."""
    return lambda uvz, _: uvz * [1.0, 1.0, factor]


def swapped_uv(uvz: np.ndarray, camera: Camera) -> np.ndarray:
    """Swap u and v."""
    return uvz[..., [1, 0, 2]]


def as_xyz(uvz: np.ndarray, camera: Camera) -> np.ndarray:
    """Read the values as x, y, z in mm."""
    return camera.project(_in_front(uvz))


def best_order(wrong: np.ndarray, right: np.ndarray, layout: JointLayout) -> tuple[float, str]:
    """Return the mean distance in mm after the best reordering of joints, and its description.

    Args:
        wrong: (N, J, 3) joints in mm, perhaps in another order; NaN for unknown ones.
        right: (N, J, 3) joints in mm in the order of the layout.
        layout: Layout of the joints.
    """
    known = np.flatnonzero(np.isfinite(wrong).all(axis=2).any(axis=0))
    distances = np.stack([np.nanmean(np.linalg.norm(wrong[:, i, None] - right, axis=-1), axis=0) for i in known])
    assigned: dict[int, int] = {}
    remaining = distances.copy()
    for _ in known:
        row, column = np.unravel_index(np.nanargmin(remaining), remaining.shape)
        assigned[int(known[row])] = int(column)
        remaining[row], remaining[:, column] = np.inf, np.inf
    error = float(np.mean([distances[row, assigned[int(i)]] for row, i in enumerate(known)]))
    joints = layout.joints
    moved = [f"{joints[i]} lies at {joints[at]}" for i, at in sorted(assigned.items()) if i != at]
    return error, f"the joints seem to be in another order: {', '.join(moved[:4])}" + " ..." * (len(moved) > 4)


def _in_front(xyz: np.ndarray) -> np.ndarray:
    return np.where(xyz[..., 2:] > 0, xyz, np.nan)
