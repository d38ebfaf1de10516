"""A model's joints on a data set."""

from __future__ import annotations

import numpy as np

from handpose.datasets.crops import read_crops
from handpose.datasets.dataset import HandDataset
from handpose.errors import HandPoseError
from handpose.geometry.crop import HandCrop
from handpose.inference.estimator import HandPoseEstimator

_BATCH = 64


def predict_dataset(
    estimator: HandPoseEstimator, dataset: HandDataset, workers: int = 0
) -> tuple[np.ndarray, dict[int, str]]:
    """The model's joints xyz (N, J, 3) in mm for every frame, NaN where there is none, and why, by frame number.

    Raises:
        HandPoseError: the model predicts other joints than the data set has.
    """
    if estimator.layout.name != dataset.layout.name:
        raise HandPoseError(
            f"{estimator.name} predicts the joints of {estimator.layout.name}, {dataset.name} has those of "
            f"{dataset.layout.name}; choose a model for {dataset.layout.name}"
        )
    joints = np.full((len(dataset), len(dataset.layout), 3), np.nan)
    problems: dict[int, str] = {}
    numbers: list[int] = []
    crops: list[HandCrop] = []

    def flush() -> None:
        if crops:
            joints[numbers] = estimator.predict_crops(crops)
            numbers.clear()
            crops.clear()

    for item in read_crops(dataset, workers=workers):
        if item.crop is None:
            problems[item.index] = item.problem or "no crop"
            continue
        numbers.append(item.index)
        crops.append(item.crop)
        if len(crops) == _BATCH:
            flush()
    flush()
    return joints, problems
