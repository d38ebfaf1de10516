"""Fine-tuning of weights on labeled frames, and the model folder that it writes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

from safetensors.numpy import load_file

from handpose.adaptation.announce import announce
from handpose.adaptation.claim import claimed, digest, frames_of
from handpose.adaptation.gains import forgetting, load_both
from handpose.adaptation.heads import write_heads
from handpose.adaptation.outcome import Measure, Tuned, find_measured, note_measured, write_tuned_card
from handpose.adaptation.task import CALIBRATION_IMAGES, HELD_OUT, tuning_config, tuning_task
from handpose.adaptation.tuning import tune
from handpose.datasets.dataset import HandDataset
from handpose.datasets.records import RecordDataset
from handpose.errors import HandPoseError
from handpose.evaluation.calibrate import calibrate
from handpose.io.arguments import check_kind
from handpose.weights.folder import Weights, file_sha256, write_folder


def check_joints(start: Weights, dataset: HandDataset) -> None:
    """Check that weights predict the joints of a data set.

    Raises:
        HandPoseError: They predict others, so that there is no error before the training to compare with; or `start`
            is not `Weights`.
    """
    check_kind("start", start, Weights, "weights as `handpose.find_weights` returns them")
    if start.config.layout != dataset.layout.name:
        raise HandPoseError(
            f"{start.name} predicts {start.config.layout} joints, but {dataset.origin} has {dataset.layout.name} "
            f"joints; start from {dataset.layout.name} weights, or use handpose train with --start, which accepts "
            "weights of any layout"
        )


def finetune(
    run: str | Path,
    dataset: HandDataset,
    start: Weights,
    *,
    steps: int | None = None,
    device: str = "cpu",
    max_minutes: float = math.inf,
    report: Callable[[dict[str, float]], None] = lambda row: None,
) -> Tuned:
    """Train weights on labeled frames and on synthetic crops, and measure the result on held-out frames.

    The heads of the weights are kept if they are as good as before, or else trained anew.

    An interrupted run is resumed by the same call.

    Args:
        run: Folder of the run; the model folder is `model` in it.
        dataset: The labeled frames; records should have passed `check_labels`.
        start: Weights to start from, of the same joint layout.
        steps: Total number of steps; by default, it depends on the number of frames.
        device: Device of the network.
        max_minutes: Stop the training after this many minutes, and measure its result.
        report: Called with the metrics of every validation.

    Raises:
        HandPoseError: There are too few frames, the layouts differ, or the run was started with other records
            or settings.
    """
    run = Path(run)
    check_joints(start, dataset)
    if isinstance(dataset, RecordDataset):
        dataset = dataset.with_missing_cubes(start.config.cube)
    elif not dataset.cubes_chosen and not dataset.train_cubes[0] <= start.config.cube <= dataset.train_cubes[1]:
        dataset = dataset.with_cube(start.config.cube)  # the model will be used with these
    inputs = {"start": start.sha256, **frames_of(dataset)}
    if isinstance(dataset, RecordDataset):
        inputs["images"] = digest(*(file_sha256(dataset.root / file) for file in dataset.files))
    with claimed(run, inputs):
        training, held_out = dataset.hold_out(HELD_OUT)
        config = tuning_config(len(training.usable), steps)
        announce(len(training), len(held_out), config.steps, config.batch)
        with tuning_task(start, config, training, held_out, device=device) as task:
            best = tune(run, task, report, max_minutes=max_minutes)
        if best is None:
            return Tuned(len(training), len(held_out), None, ())
        folder = run / "model"
        result = find_measured(run, folder, best.weights)
        if result is None:
            write_folder(folder, best.weights.config, load_file(best.weights.model_file), force=True)
        heads = write_heads(start, folder)  # the calibration uses them
        if result is None:
            calibrate(folder, CALIBRATION_IMAGES, device)
            before, after = load_both(start, folder, device)
            measures = (
                Measure("mean joint error on held-out frames in mm", best.before["mean_mm"], best.after["mean_mm"]),
                Measure(
                    "median joint error on held-out frames in mm", best.before["median_mm"], best.after["median_mm"]
                ),
                forgetting(before, after),
            )
            result = Tuned(len(training), len(held_out), folder, measures)
            write_tuned_card(folder, start, result, f"fine-tuned on {len(training)} labeled frames ({dataset.centers})")
            note_measured(run, result)
        return dataclasses.replace(result, heads=heads)
