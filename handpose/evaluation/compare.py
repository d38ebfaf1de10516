"""Text files of predictions against true joints, by the field's evaluators."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from handpose.errors import HandPoseError
from handpose.evaluation.metrics import Evaluation
from handpose.evaluation.report import Entry, Report
from handpose.results.uvd import EVALUATORS, read_ground_truth, read_predictions


def compare_files(dataset: str, ground_truth: str | Path, predictions: Sequence[str | Path]) -> Report:
    """The report on text files of predictions against one of true joints, by the field's evaluators.

    Args:
        dataset: `nyu`, `icvl` or `msra`: which joints and intrinsics.
        ground_truth: true joints, `u v d` per joint, one frame per line.
        predictions: files in the same format; each is called as its file, without the suffix.

    Raises:
        HandPoseError: a file cannot be read, holds other joints, or has another number of frames than the truth.
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
                f"{path}: expected as many frames (lines) as {ground_truth} has, {len(truth)}, got {len(uvz)}; "
                "write nan for joints that are not predicted"
            )
        evaluation = Evaluation.of(camera.unproject(uvz), camera.unproject(truth))
        entries.append(Entry(name, evaluation, "chosen by the predictions' authors; the files do not say"))
    return Report(dataset.upper(), layout, entries, camera, [f"true joints from {Path(ground_truth).name}"])


def _names(paths: list[Path]) -> list[str]:
    """The files' stems; whole paths where two stems are the same."""
    stems = [path.stem for path in paths]
    return stems if len(set(stems)) == len(stems) else [str(path) for path in paths]
