"""Evaluation of estimators on synthetic images or a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from handpose.datasets.dataset import HandDataset
from handpose.datasets.records import RecordDataset
from handpose.errors import HandPoseError
from handpose.evaluation.label_check import find_mistake
from handpose.evaluation.metrics import Evaluation
from handpose.evaluation.on_real import check_layout, predict_dataset
from handpose.evaluation.report import Entry, Report
from handpose.geometry.uvd import write_predictions
from handpose.inference.estimator import HandPoseEstimator
from handpose.io.outputs import refuse_existing, require_folder
from handpose.io.warn import warn

_CHANCE_MM = 50.0  # mean error of poses that have nothing in common with the labels but the crop
_SYNTHETIC_FRAMES = 2000
_FRAMES_PER_SHAPE_IMAGE = 160  # the whole test set comes with 12 images of each named hand shape


def evaluate(
    estimators: HandPoseEstimator | str | Path | Sequence[HandPoseEstimator | str | Path],
    dataset: HandDataset | None = None,
    *,
    frames: int | None = None,
    workers: int = 0,
    predictions: str | Path | None = None,
    force: bool = False,
) -> Report:
    """Return the joint errors of one or more estimators on the same images.

    Args:
        estimators: Estimators with the same joint layout, or models, as in `HandPoseEstimator.from_pretrained`.
        dataset: Data set with that layout, see `open_dataset`. By default, the synthetic test images. Its cubes are
            scaled to the size that each estimator was trained with, unless they were chosen, as with `cube`.
        frames: Number of synthetic test images, at most 2,000 (the default). From 160 on, a smaller set of named hand
            shapes is evaluated as well; the report's notes have the share of correct finger states.
        workers: Number of processes that load images of a data set.
        predictions: File to write the joints of a single estimator to, `u v d` per joint, one frame per line; only
            with a data set.
        force: Whether an existing file of predictions may be overwritten.

    Raises:
        HandPoseError: The joint layouts differ, a model cannot be loaded, two have the same name, `predictions` exists
            or cannot be written, or it is given with several estimators or without a data set; `frames` is given with
            a data set, or `workers` without one.
    """
    given = [estimators] if isinstance(estimators, (HandPoseEstimator, str, Path)) else [*estimators]
    if not given:
        raise HandPoseError("expected at least one estimator to evaluate, got none")
    loaded = [HandPoseEstimator.from_pretrained(each) if isinstance(each, (str, Path)) else each for each in given]
    layouts = {estimator.layout.name for estimator in loaded}
    if len(layouts) > 1:
        raise HandPoseError(f"models in one report must have the same joints, got {' and '.join(sorted(layouts))}")
    _check_names([estimator.name for estimator in loaded])
    if dataset is not None:
        if frames is not None:
            raise HandPoseError("`frames=...` is for synthetic images; for a part of a data set, pass its `subset`")
        models = [(estimator.name, [estimator]) for estimator in loaded]
        return evaluate_parts(models, [dataset], workers=workers, predictions=predictions, force=force)
    if predictions is not None:
        raise HandPoseError("writing predictions requires a data set and a single model")
    if workers:
        raise HandPoseError("`workers=...` is for data sets, whose images are loaded; omit it")
    return _on_synthetic(loaded, _SYNTHETIC_FRAMES if frames is None else frames)


def evaluate_parts(
    models: Sequence[tuple[str, Sequence[HandPoseEstimator]]],
    datasets: Sequence[HandDataset],
    *,
    workers: int = 0,
    predictions: str | Path | None = None,
    force: bool = False,
) -> Report:
    """Return the joint errors over all frames of several data sets, where each data set has its own estimator.

    This is how a cross-validation is evaluated, such as that over MSRA's nine subjects.

    Args:
        models: Name of each model, and its estimators for the data sets, in the same order.
        datasets: Data sets of one kind, such as the test splits of all subjects.
        workers: Number of processes that load images.
        predictions: File to write the joints of a single model to, see `evaluate`.
        force: Whether this file may be overwritten.

    Raises:
        HandPoseError: No frame is usable, a joint layout differs from that of the data sets, two models have the same
            name, or `predictions` exists, cannot be written or is given with several models.

    Warns:
        UserWarning: The labels of records have a systematic error, such as another unit.
    """
    _check_names([name for name, _ in models])
    if predictions is not None:
        if len(models) != 1:
            raise HandPoseError("writing predictions requires a data set and a single model")
        refuse_existing(predictions, force=force)
        require_folder(predictions)
    for dataset in datasets:
        if not len(dataset.usable):
            reason = next(iter(dataset.damaged.values()), "it is empty")
            raise HandPoseError(f"{dataset.origin}: none of the {len(dataset)} frames can be read: {reason}")
    for estimator, dataset in [pair for _, each in models for pair in zip(each, datasets, strict=True)]:
        check_layout(estimator, dataset)  # before the first of several models is evaluated, which may take hours
    datasets = [_with_joints_in_mm(dataset) for dataset in datasets]
    truth = np.concatenate([dataset.xyz for dataset in datasets])
    partial = any(isinstance(dataset, RecordDataset) for dataset in datasets)
    mistakes = _warn_of_mistakes([each for each in datasets if isinstance(each, RecordDataset)], models[0][1])
    first, entries = datasets[0], []
    notes = dict.fromkeys([*mistakes, *(note for dataset in datasets for note in dataset.notes)])
    centers = first.centers if len(datasets) == 1 else f"{first.centers} and those of the other parts"
    for name, estimators in models:
        cropped = [_in_cubes_of(estimator, dataset) for estimator, dataset in zip(estimators, datasets, strict=True)]
        parts = [
            predict_dataset(estimator, dataset, workers) for estimator, dataset in zip(estimators, cropped, strict=True)
        ]
        notes[f"{name}: {_describe_cubes(cropped, datasets)}"] = None
        entries.append(Entry(name, Evaluation.of(np.concatenate(parts), truth, partial=partial), centers))
        if partial and not mistakes and entries[-1].evaluation.mean > _CHANCE_MM:
            doubt = (
                f"{name}: a mean error of {entries[-1].evaluation.mean:.0f} mm is no better than chance; check the "
                "camera, `unit`, `center_mm` and `cube_mm` of the records"
            )
            notes[doubt] = None
            warn(doubt)
        if len(parts) > 1:
            means = [Evaluation.of(xyz, dataset.xyz).mean for xyz, dataset in zip(parts, datasets, strict=True)]
            named = (f"{_part(dataset)} {mean:.2f}".strip() for dataset, mean in zip(datasets, means, strict=True))
            notes[f"{name}, mean error of each part in mm: {', '.join(named)}"] = None
        if predictions is not None:
            write_predictions(
                predictions,
                (
                    dataset.camera_of(i).project(joints)
                    for dataset, xyz in zip(datasets, parts, strict=True)
                    for i, joints in enumerate(xyz)
                ),
                force=True,
            )
    heading = " ".join([first.name, first.split, *([_part(first)] if len(datasets) == 1 and _part(first) else [])])
    return Report(heading, first.layout, entries, notes=[*notes])


def _check_names(names: Sequence[str]) -> None:
    """Check, before the evaluation, that a report can name the models."""
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise HandPoseError(
            f"models in one report must have different names, got several with the name {', '.join(repeated)}; "
            "evaluate them one by one"
        )


def _part(dataset: HandDataset) -> str:
    """Return the name of the test subject of MSRA, as its folder, or an empty string."""
    return dataset.files[0].partition("/")[0] if dataset.name == "msra" else ""


def _in_cubes_of(estimator: HandPoseEstimator, dataset: HandDataset) -> HandDataset:
    """Return the data set with cubes of the size that a model was trained with, unless its cubes were chosen."""
    if isinstance(dataset, RecordDataset):
        return dataset.with_missing_cubes(estimator.config.cube)
    largest = float(dataset.cubes.max())
    if dataset.cubes_chosen or largest == estimator.config.cube:
        return dataset
    return replace(dataset, cubes=dataset.cubes * (estimator.config.cube / largest))


def _describe_cubes(used: Sequence[HandDataset], given: Sequence[HandDataset]) -> str:
    def sides(datasets: Sequence[HandDataset]) -> str:
        return ", ".join(map(str, sorted({round(float(cube), 1) for each in datasets for cube in each.cubes})))

    text = f"cubes of {sides(used)} mm"
    if sides(used) == sides(given):
        return text
    return f"{text}, as in its training; those of the data set have {sides(given)} mm"


def _warn_of_mistakes(datasets: Sequence[RecordDataset], estimators: Sequence[HandPoseEstimator]) -> list[str]:
    """Warn about systematic errors in the labels of records, and return them."""
    mistakes = []
    for dataset in datasets:
        known = [each for each in estimators if each.name == dataset.layout.name]
        judge = known[0] if known else HandPoseEstimator.from_pretrained(dataset.layout.name)
        if mistake := find_mistake(dataset, judge):
            mistakes.append(f"the labels are probably wrong: {mistake}")
            warn(f"{dataset.path}: the labels are probably wrong, as a note of the report explains")
    return mistakes


def _with_joints_in_mm(dataset: HandDataset) -> HandDataset:
    """Return the frames with at least one complete joint label, and add a note about the others."""
    labeled = np.isfinite(dataset.xyz).all(axis=2).any(axis=1)
    if labeled.all():
        return dataset
    if not labeled.any():
        raise HandPoseError(f"{dataset.origin}: no joint is labeled with a depth, so there are no errors in mm")
    note = f"{len(dataset) - labeled.sum()} frames without any joint in mm are excluded"
    return replace(dataset.subset(np.flatnonzero(labeled)), notes=(*dataset.notes, note))


def _on_synthetic(estimators: Sequence[HandPoseEstimator], frames: int) -> Report:
    if not 1 <= frames <= _SYNTHETIC_FRAMES:
        raise HandPoseError(f"expected 1 to {_SYNTHETIC_FRAMES:,} synthetic test images, got {frames}")
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
