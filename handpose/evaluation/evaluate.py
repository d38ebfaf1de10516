"""Evaluation of estimators on synthetic images or a data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from handpose.datasets.dataset import HandDataset
from handpose.errors import HandPoseError
from handpose.evaluation.metrics import Evaluation
from handpose.evaluation.on_real import predict_dataset
from handpose.evaluation.report import Entry, Report
from handpose.inference.estimator import HandPoseEstimator
from handpose.results.uvd import write_predictions

_FRAMES_PER_SHAPE_IMAGE = 160  # the whole test set comes with 12 images of each named hand shape


def evaluate(
    estimators: HandPoseEstimator | Sequence[HandPoseEstimator],
    dataset: HandDataset | None = None,
    *,
    frames: int = 2000,
    workers: int = 0,
    predictions: str | Path | None = None,
) -> Report:
    """Return the joint errors of one or more estimators on the same images.

    Args:
        estimators: Estimators with the same joint layout.
        dataset: Data set with that layout, see `open_dataset`. By default, the synthetic test images.
        frames: Number of synthetic test images, at most 2,000. From 160 on, a smaller set of named hand shapes is
            evaluated as well; the report's notes have the share of correct finger states.
        workers: Number of processes that load images of a data set.
        predictions: File to write the joints of a single estimator to, `u v d` per joint, one frame per line; only
            with a data set.

    Raises:
        HandPoseError: The joint layouts differ, `predictions` cannot be written, or it is given with several estimators
            or without a data set.
    """
    estimators = [estimators] if isinstance(estimators, HandPoseEstimator) else [*estimators]
    layouts = {estimator.layout.name for estimator in estimators}
    if len(layouts) > 1:
        raise HandPoseError(f"models in one report must have the same joints, got {' and '.join(sorted(layouts))}")
    if predictions is not None and (dataset is None or len(estimators) != 1):
        raise HandPoseError("writing predictions requires a data set and a single model")
    if dataset is None:
        return _on_synthetic(estimators, frames)
    return _on_dataset(estimators, dataset, workers, predictions)


def _on_synthetic(estimators: Sequence[HandPoseEstimator], frames: int) -> Report:
    from handpose.evaluation.named_shapes import describe_shares, finger_state_shares  # imports torch
    from handpose.evaluation.on_synthetic import evaluate_synthetic

    entries, notes = [], []
    for estimator in estimators:
        result = evaluate_synthetic(estimator, frames)
        entries.append(Entry(f"{estimator.name}, hand localized", result.localized, "localized by handpose"))
        entries.append(Entry(f"{estimator.name}, hand center given", result.given, "mean of the true joints"))
        if per_shape := frames // _FRAMES_PER_SHAPE_IMAGE:
            shares = finger_state_shares(estimator, per_shape)
            notes += [f"{estimator.name}, {line}" for line in describe_shares(shares)]
    return Report("synthetic test images", estimators[0].layout, entries, notes=notes)


def _on_dataset(
    estimators: Sequence[HandPoseEstimator], dataset: HandDataset, workers: int, predictions: str | Path | None
) -> Report:
    entries = []
    for estimator in estimators:
        xyz = predict_dataset(estimator, dataset, workers)
        entries.append(Entry(estimator.name, Evaluation.of(xyz, dataset.xyz), dataset.centers))
        if predictions is not None:
            write_predictions(predictions, (dataset.camera.project(joints) for joints in xyz))
    cubes = sorted({round(float(cube), 1) for cube in dataset.cubes})
    notes = [*dataset.notes, f"cubes of {', '.join(map(str, cubes))} mm"]
    return Report(f"{dataset.name} {dataset.split}", dataset.layout, entries, notes=notes)
