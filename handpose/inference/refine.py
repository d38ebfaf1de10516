"""Selects the most likely pose of an image and refines uncertain ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from handpose.geometry.crop import HandCrop
from handpose.inference.candidates import Candidates
from handpose.localization.network import NEAREST
from handpose.results.pose import HandPose

_MAX_PASSES = 3  # through the network: the first, and refinement passes
_CONFIDENT_MM = 8.0  # expected error below which a pose is not refined


def most_likely(poses: Sequence[HandPose], areas: Sequence[float]) -> HandPose:
    """Return the pose with the least uncertainty per area of the hand, in mm^2."""
    return min(zip(poses, areas, strict=True), key=lambda pair: uncertainty(pair[0]) / pair[1])[0]


def refine(
    poses: Sequence[HandPose],
    images: Sequence[Candidates],
    predict: Callable[[Sequence[HandCrop], Sequence[Candidates]], list[HandPose]],
) -> list[HandPose]:
    """Return the least uncertain pose of each image: the given one, or one from a crop around the previous pose.

    Args:
        poses: The pose of each image.
        images: The images; those whose hand was not localized keep their pose, and so do all without a calibration.
        predict: Returns the poses in crops, given the image of each crop.
    """
    best = list(poses)
    previous = {i: pose for i, pose in enumerate(poses) if images[i].depth is not None}
    for _ in range(_MAX_PASSES - 1):
        crops = {
            i: _crop_around(pose, depth)
            for i, pose in previous.items()
            if (depth := images[i].depth) is not None
            and pose.error_mm.mean() > _CONFIDENT_MM
            and pose.xyz[:, 2].mean() > NEAREST
        }
        refined = predict(list(crops.values()), [images[i] for i in crops])
        previous = dict(zip(crops, refined, strict=True))
        for i, pose in previous.items():
            best[i] = min(best[i], pose, key=uncertainty)
    return best


def _crop_around(pose: HandPose, depth: np.ndarray) -> HandCrop:
    return HandCrop.cut(depth, pose.camera, pose.xyz.mean(axis=0), pose.cube, mirror=pose.hand == "left")


def uncertainty(pose: HandPose) -> float:
    """Return the mean expected error in mm, or, without a calibration, the variance of the votes in mm^2."""
    return float(np.square(pose.spread).sum() if np.isnan(pose.error_mm).any() else pose.error_mm.mean())
