"""Evaluation of published prediction files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from handpose.errors import HandPoseError
from handpose.evaluation.metrics import Evaluation
from handpose.evaluation.report import Entry, Report
from handpose.geometry.uvd import EVALUATORS, read_ground_truth, read_predictions


def compare_files(dataset: str, ground_truth: str | Path, predictions: Sequence[str | Path]) -> Report:
    """Return the report on prediction files, computed as published results are.

    Args:
        dataset: `nyu`, `icvl` or `msra`, which determines joints and intrinsics.
        ground_truth: File of the true joints, `u v d` per joint, one frame per line.
        predictions: Prediction files in the same format. Their names without the extension are used in the report.

    Raises:
        HandPoseError: A file cannot be read, or its number of joints or frames is wrong.
    """
    if dataset not in EVALUATORS:
        raise HandPoseError(f"the data set must be one of {', '.join(EVALUATORS)}, got {dataset!r}")
    layout, camera = EVALUATORS[dataset]
    truth = read_ground_truth(ground_truth, layout)
    entries = []
    for name, path in zip(_names([Path(path) for path in predictions]), predictions, strict=True):
        uvz = read_predictions(path, layout)
        if len(uvz) != len(truth):
            raise HandPoseError(
                f"{path}: expected {len(truth)} frames (lines), as in {ground_truth}, got {len(uvz)}; write nan for "
                "joints without a prediction"
            )
        evaluation = Evaluation.of(camera.unproject(uvz), camera.unproject(truth))
        entries.append(Entry(name, evaluation, "chosen by the authors of the predictions; not stated in the files"))
    return Report(dataset.upper(), layout, entries, camera, [f"true joints from {Path(ground_truth).name}"])


def _names(paths: list[Path]) -> list[str]:
    """Return the stems of the files, or their paths if two stems are equal."""
    stems = [path.stem for path in paths]
    return stems if len(set(stems)) == len(stems) else [str(path) for path in paths]
