"""Averages predictions over several views of each patch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import numpy as np

from handpose.geometry.crop import PATCH
from handpose.io.arguments import check_choice
from handpose.io.choices import Views
from handpose.runtimes.batching import Run, run_in_batches


def check_views(views: int) -> None:
    """Check a number of views.

    Raises:
        HandPoseError: it is not 1, 2 or 4.
    """
    check_choice("views", views, get_args(Views))


def predict_views(run: Run, patches: Sequence[np.ndarray], views: Views, uv_scale: float) -> tuple[np.ndarray, ...]:
    """Return the normalized joints and their spread, each (N, J, 3), of N > 0 patches, averaged over views.

    Further outputs (N, ...) of the network are averaged, too.

    A quarter turn of a patch is exact, and shows the hand as a camera that is rolled by 90 degrees would. All views run
    in one batch. The spread is the root mean square of that of the views, so that its calibration stays valid.

    Args:
        run: Runs the network.
        patches: N patches (96, 96).
        views: Number of views.
        uv_scale: Patch pixels per unit of u and v.

    Raises:
        DeviceMemoryError: the device has no memory for a single patch.
    """
    if views == 1:
        return run_in_batches(run, patches)
    turns = [4 // views * view for view in range(views)]
    turned = [np.rot90(patch, turn) for patch in patches for turn in turns]
    uvz, spread, *others = (
        outputs.reshape(len(patches), views, *outputs.shape[1:]) for outputs in run_in_batches(run, turned)
    )
    upright, variance = np.empty_like(uvz), np.empty_like(spread)
    for view, turn in enumerate(turns):
        upright[:, view] = _turn_back(uvz[:, view], turn, (PATCH - 1) / uv_scale)
        swapped = [1, 0, 2] if turn % 2 else [0, 1, 2]
        variance[:, view] = np.square(spread[:, view][..., swapped])
    return upright.mean(axis=1), np.sqrt(variance.mean(axis=1)), *(output.mean(axis=1) for output in others)


def _turn_back(uvz: np.ndarray, turn: int, side: float) -> np.ndarray:
    """Return joints (N, J, 3) of a patch that `np.rot90` turned `turn` times as joints of the patch itself.

    `side` is the largest u and v in the patch.
    """
    u, v, z = np.moveaxis(uvz, -1, 0)
    u, v = ((u, v), (side - v, u), (side - u, side - v), (v, side - u))[turn]
    return np.stack([u, v, z], axis=-1)
