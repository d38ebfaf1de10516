"""Measures of two estimators: on frames without labels, and on synthetic images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from handpose.adaptation.outcome import Measure
from handpose.datasets.records import RecordDataset
from handpose.evaluation.on_synthetic import evaluate_synthetic
from handpose.geometry.bones import bone_lengths
from handpose.geometry.crop import HandCrop
from handpose.inference.estimator import HandPoseEstimator
from handpose.training.augmentation import Move
from handpose.weights.folder import Weights

VIEWS = tuple(
    Move(degrees, scale, shift)
    for degrees, scale, shift in (
        (0.0, 1.0, (0.0, 0.0, 0.0)),
        (90.0, 0.95, (8.0, -6.0, 5.0)),
        (180.0, 1.05, (-8.0, 6.0, -5.0)),
        (270.0, 1.0, (5.0, 8.0, 0.0)),
    )
)
"""Views of a frame that are compared: in-plane rotations, with changes of scale and position."""

_TEST_IMAGES = 200
_MAX_STEP_MM = 40.0  # mean distance between the joints of consecutive frames, above which they are not a sequence


def unlabeled_measures(
    before: HandPoseEstimator, after: HandPoseEstimator, frames: RecordDataset
) -> tuple[Measure, ...]:
    """Return the disagreement of views, the variation of bone lengths and the jitter of both estimators.

    Args:
        before: Estimator with the initial weights.
        after: Estimator with the new weights.
        frames: Frames with known centers, in the order of their sequences; their labels are not used.
    """
    first, second = (_views(estimator, frames) for estimator in (before, after))
    names = (
        "disagreement of four views in mm",
        "variation of the bone lengths in percent",
        "jitter between neighboring frames in mm",
    )
    values = [
        (_disagreement(views), _bone_variation(views, frames), _jitter(views, first, frames))
        for views in (first, second)
    ]
    return tuple(Measure(name, *pair) for name, *pair in zip(names, *values, strict=True) if np.isfinite(pair).all())


def _views(estimator: HandPoseEstimator, frames: RecordDataset) -> np.ndarray:
    """Return the joints (N, K, J, 3) in mm, predicted from K views of each frame and transformed back."""
    results = []
    for i in frames.usable.tolist():
        frame = frames[i].as_right()
        if frame.center is None:
            continue
        center = frame.center
        crops: list[HandCrop] = [move.cut(frame.depth, frame.camera, center, frame.cube) for move in VIEWS]
        predicted = estimator.predict_crops(crops)
        results.append([move.points_back(xyz, center) for move, xyz in zip(VIEWS, predicted, strict=True)])
    return np.array(results)


def _disagreement(views: np.ndarray) -> float:
    """Return the mean distance between the joints of a view and their mean over all views, mm."""
    return float(np.linalg.norm(views - views.mean(axis=1, keepdims=True), axis=-1).mean())


def _bone_variation(views: np.ndarray, frames: RecordDataset) -> float:
    """Return the median over the bones of the standard deviation of their length, relative to it, in percent."""
    lengths = bone_lengths(views[:, 0], frames.layout)
    return float(100.0 * np.median(lengths.std(axis=0) / lengths.mean(axis=0)))


def _jitter(views: np.ndarray, reference: np.ndarray, frames: RecordDataset) -> float:
    """Return the mean distance in mm of a joint from the midpoint of its positions in the previous and the next frame.

    It is NaN without three consecutive frames. The `reference` determines which frames are consecutive, so that all
    estimators are measured on the same frames.
    """
    names = np.array([frames.sequences[i] for i in frames.usable])[: len(views)]
    steps = np.linalg.norm(np.diff(reference[:, 0], axis=0), axis=-1).mean(axis=1)
    near = (steps < _MAX_STEP_MM) & (names[1:] == names[:-1])
    middle = np.flatnonzero(near[1:] & near[:-1]) + 1
    if not len(middle):
        return np.nan
    joints = views[:, 0]
    return float(np.linalg.norm(joints[middle] - (joints[middle - 1] + joints[middle + 1]) / 2, axis=-1).mean())


def load_both(start: Weights, folder: Path, device: str) -> tuple[HandPoseEstimator, HandPoseEstimator]:
    """Return the estimators of the initial weights and of those in a folder."""
    return (
        HandPoseEstimator.from_pretrained(start.model_file.parent, device=device),
        HandPoseEstimator.from_pretrained(folder, device=device),
    )


def forgetting(before: HandPoseEstimator, after: HandPoseEstimator) -> Measure:
    """Return the mean joint error of both estimators on synthetic test images, hand center given."""
    errors = [evaluate_synthetic(estimator, _TEST_IMAGES).given.mean for estimator in (before, after)]
    return Measure(f"mean joint error on {_TEST_IMAGES} synthetic test images in mm", errors[0], errors[1])
