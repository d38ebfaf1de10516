"""Adaptation of weights to a camera without labels: a student learns what an accurate, slow teacher predicts."""

from __future__ import annotations

import dataclasses
import math
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

from safetensors.numpy import load_file

from handpose.adaptation.announce import announce
from handpose.adaptation.claim import claimed, digest
from handpose.adaptation.gains import forgetting, load_both, unlabeled_measures
from handpose.adaptation.heads import write_heads
from handpose.adaptation.outcome import Measure, Tuned, find_measured, note_measured, write_tuned_card
from handpose.adaptation.task import CALIBRATION_IMAGES, HELD_OUT, tuning_config, tuning_task
from handpose.adaptation.teacher import UnlabeledFrames, label_frames
from handpose.adaptation.tuning import MAX_FORGETTING_MM, tune
from handpose.datasets.records import open_records
from handpose.errors import HandPoseError
from handpose.evaluation.calibrate import calibrate
from handpose.inference.estimator import HandPoseEstimator
from handpose.io.arguments import check_kind
from handpose.weights.folder import Weights, file_sha256, write_folder

LABELS_FILE = "labels.jsonl"
"""File of the teacher's labels in the folder of a run."""

# The distance from the teacher depends on its mistakes, too, so small differences do not determine the mixture.
_TOLERANCE = 0.05
_MIN_GAIN = 0.02  # of the agreement under views, as a ratio
_MAX_LOSS = 0.05  # of every other measure


def adapt(
    run: str | Path,
    frames: UnlabeledFrames,
    start: Weights,
    *,
    steps: int | None = None,
    device: str = "cpu",
    max_minutes: float = math.inf,
    report: Callable[[dict[str, float]], None] = lambda row: None,
) -> Tuned:
    """Train weights on their own predictions from four views, and keep the result only if it is better.

    The heads of the weights are kept if they are as good as before, or else trained anew.

    An interrupted run is resumed by the same call.

    Args:
        run: Folder of the run; it contains the teacher's labels, and the model folder `model`.
        frames: Frames of the camera.
        start: Calibrated weights to start from.
        steps: Total number of steps; by default, it depends on the number of frames.
        device: Device of the network.
        max_minutes: Stop the training after this many minutes, and measure its result.
        report: Called with the metrics of every validation, in which errors are distances from the teacher.

    Raises:
        HandPoseError: The weights are not calibrated, the teacher is confident about too few frames, or the run was
            started with other frames or settings.
    """
    run = Path(run)
    check_kind("start", start, Weights, "weights as `handpose.find_weights` returns them")
    if start.config.calibration is None:
        raise HandPoseError(f"{start.name}: without a calibration, all poses are uncertain; run handpose calibrate")
    inputs = {
        "start": start.sha256,
        "frames": len(frames.files),
        "files": digest(*map(str, frames.files)),
        "content": digest(*map(file_sha256, frames.files)),
        "camera": frames.camera.to_dict(),
        "unit": frames.unit,
        "hand": frames.hand,
    }
    with claimed(run, inputs):
        labels = run / LABELS_FILE
        if not labels.is_file():
            teacher = HandPoseEstimator.from_pretrained(start.model_file.parent, device=device, views=4)
            label_frames(frames, teacher, labels)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that the labels are predictions
            dataset = open_records(labels, "train")
        training, held_out = dataset.hold_out(HELD_OUT)
        config = tuning_config(len(training.usable), steps)
        announce(len(training), len(held_out), config.steps, config.batch)
        with tuning_task(start, config, training, held_out, device=device, noise=True) as task:
            best = tune(run, task, report, max_minutes=max_minutes, tolerance=_TOLERANCE)
        result = Tuned(len(training), len(held_out), None, ())
        if best is None:
            return result
        folder = run / "model"
        measured = find_measured(run, folder, best.weights)
        if measured is not None:
            return dataclasses.replace(measured, heads=write_heads(start, folder))
        write_folder(folder, best.weights.config, load_file(best.weights.model_file), force=True)
        before, after = load_both(start, folder, device)
        gained = unlabeled_measures(before, after, held_out)
        result = dataclasses.replace(result, measures=(*gained, forgetting(before, after)))
        if not is_better(result.measures):
            shutil.rmtree(folder)
            return result
        heads = write_heads(start, folder)  # the calibration uses them
        calibrate(folder, CALIBRATION_IMAGES, device)
        result = dataclasses.replace(result, model=folder)
        write_tuned_card(folder, start, result, f"adapted to a camera with {len(training)} frames without labels")
        note_measured(run, result)
        return dataclasses.replace(result, heads=heads)


def is_better(measures: tuple[Measure, ...]) -> bool:
    """Return whether the views agree better, no other measure is clearly worse, and the synthetic error is similar.

    Args:
        measures: Agreement under views first, and the error on synthetic test images last.
    """
    agreement, *others, synthetic = measures
    return (
        agreement.after < (1.0 - _MIN_GAIN) * agreement.before
        and all(other.after < (1.0 + _MAX_LOSS) * other.before for other in others)
        and synthetic.after < synthetic.before + MAX_FORGETTING_MM
    )
