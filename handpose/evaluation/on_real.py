"""Predictions for the frames of a data set."""

from __future__ import annotations

import numpy as np

from handpose.datasets.crops import read_crops
from handpose.datasets.dataset import HandDataset
from handpose.errors import HandPoseError
from handpose.geometry.crop import HandCrop
from handpose.inference.estimator import HandPoseEstimator
from handpose.io.progress import track
from handpose.io.warn import SkippedFrameWarning, warn

_BATCH = 64  # crops


def check_layout(estimator: HandPoseEstimator, dataset: HandDataset) -> None:
    """Check that an estimator predicts the joints of a data set.

    Raises:
        HandPoseError: The joint layouts differ.
    """
    if estimator.layout.name != dataset.layout.name:
        raise HandPoseError(
            f"{estimator.name} predicts joints of layout {estimator.layout.name}, but {dataset.name} has layout "
            f"{dataset.layout.name}; use a model with layout {dataset.layout.name}"
        )


def predict_dataset(estimator: HandPoseEstimator, dataset: HandDataset, workers: int = 0) -> np.ndarray:
    """Return the predicted joints xyz (N, J, 3) in mm of every frame; NaN, with a warning, if there is no prediction.

    Args:
        estimator: Estimator with the layout of the data set.
        dataset: Data set.
        workers: Number of processes that load images.

    Raises:
        HandPoseError: The joint layouts differ.

    Warns:
        SkippedFrameWarning: A frame has no prediction.
    """
    check_layout(estimator, dataset)
    joints = np.full((len(dataset), len(dataset.layout), 3), np.nan)
    indices: list[int] = []
    crops: list[HandCrop] = []

    def flush() -> None:
        if crops:
            joints[indices] = estimator.predict_crops(crops)
            indices.clear()
            crops.clear()

    for item in track(read_crops(dataset, workers=workers), f"evaluating {estimator.name}", len(dataset)):
        if item.crop is None:
            warn(
                f"{dataset.files[item.index]} has no prediction and counts as a failure: {item.problem or 'no crop'}",
                SkippedFrameWarning,
            )
            continue
        indices.append(item.index)
        crops.append(item.crop)
        if len(crops) == _BATCH:
            flush()
    flush()
    return joints
