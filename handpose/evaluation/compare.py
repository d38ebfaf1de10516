"""Evaluation of published prediction files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from handpose.datasets import icvl, nyu
from handpose.errors import HandPoseError
from handpose.evaluation.metrics import Evaluation
from handpose.evaluation.prediction_check import find_prediction_mistake
from handpose.evaluation.report import Entry, Report
from handpose.geometry.uvd import EVALUATORS, read_ground_truth, read_predictions, without_zeros
from handpose.io.warn import warn

_PUBLISHED = {"nyu": nyu.FRAMES["test"], "icvl": icvl.FRAMES["test"]}


def compare_files(dataset: str, ground_truth: str | Path, predictions: str | Path | Sequence[str | Path]) -> Report:
    """Return the report on prediction files, computed as published results are.

    Args:
        dataset: `nyu`, `icvl` or `msra`, which determines joints and intrinsics.
        ground_truth: File of the true joints, `u v d` per joint, one frame per line.
        predictions: One or more prediction files in the same format. Their names without the extension are used in
            the report.

    Raises:
        HandPoseError: A file cannot be read, or its number of joints or frames is wrong.

    Warns:
        UserWarning: Predictions have a systematic error, such as another unit; a note of the report names it.
    """
    if dataset not in EVALUATORS:
        raise HandPoseError(f"the data set must be one of {', '.join(EVALUATORS)}, got {dataset!r}")
    predictions = [predictions] if isinstance(predictions, (str, Path)) else predictions
    layout, camera = EVALUATORS[dataset]
    truth = read_ground_truth(ground_truth, layout)
    entries, notes = [], [f"true joints from {Path(ground_truth).name}"]
    published = _PUBLISHED.get(dataset, len(truth))
    if len(truth) != published:
        notes.append(f"{len(truth)} frames; the published set has {published}")
    for name, path in zip(_names([Path(path) for path in predictions]), predictions, strict=True):
        uvz = read_predictions(path, layout)
        if len(uvz) != len(truth):
            raise HandPoseError(
                f"{path}: expected {len(truth)} frames (lines), as in {ground_truth}, got {len(uvz)}; write nan for "
                "joints without a prediction"
            )
        notes += [f"{name}: {text}" for text in _missing(uvz)]
        uvz = without_zeros(uvz)
        if mistake := find_prediction_mistake(uvz, truth, camera, layout):
            notes.append(f"{name}: the predictions are probably wrong: {mistake}")
            warn(f"{path}: the predictions are probably wrong: {mistake}")
        evaluation = Evaluation.of(camera.unproject(uvz), camera.unproject(truth))
        entries.append(Entry(name, evaluation, "chosen by the authors of the predictions; not stated in the files"))
    return Report(dataset.upper(), layout, entries, camera, notes)


def _missing(uvz: np.ndarray) -> list[str]:
    """Return notes on frames that count as missing although they have numbers."""
    has_joint = np.isfinite(uvz).all(axis=2)
    is_zero = (has_joint & (uvz[..., 2] <= 0)).any(axis=1)
    is_partial = has_joint.any(axis=1) & ~has_joint.all(axis=1)
    notes = []
    if is_zero.any():
        notes.append(
            f"joints have a depth of 0 or less in {is_zero.sum()} of {len(uvz)} frames, which count as missing"
        )
    if is_partial.any():
        notes.append(
            f"some joints have no prediction in {is_partial.sum()} of {len(uvz)} frames, which count as missing"
        )
    return notes


def _names(paths: list[Path]) -> list[str]:
    """Return the stems of the files, or their paths if two stems are equal."""
    stems = [path.stem for path in paths]
    return stems if len(set(stems)) == len(stems) else [str(path) for path in paths]
