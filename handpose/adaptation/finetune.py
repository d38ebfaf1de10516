"""Fine-tuning of weights on labeled frames, and the model folder that it writes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

from handpose.adaptation.tuning import claim, digest, tune, tuning_config, tuning_task
from handpose.datasets.dataset import HandDataset
from handpose.datasets.records import RecordDataset
from handpose.evaluation.calibrate import calibrate
from handpose.evaluation.on_synthetic import evaluate_synthetic
from handpose.inference.estimator import HandPoseEstimator
from handpose.io.atomic import write_atomically
from handpose.weights.folder import CARD_FILE, Weights, write_folder

HELD_OUT = 0.2
"""Share of the frames that are held out, to stop the training and to measure the result."""

_TEST_IMAGES = 200
_CALIBRATION_IMAGES = 400


@dataclass(frozen=True)
class Measure:
    """A quantity before and after a training; smaller is better.

    Attributes:
        name: What was measured, with its unit.
        before: Value of the initial weights.
        after: Value of the new weights.
    """

    name: str
    before: float
    after: float

    def __str__(self) -> str:
        """Return the values and their change in percent."""
        return f"{self.name}: {self.before:.2f} before, {self.after:.2f} after ({self.after / self.before - 1:+.0%})"


@dataclass(frozen=True)
class Tuned:
    """The result of a training that starts from existing weights.

    Attributes:
        frames: Number of training frames.
        held_out: Number of held-out frames.
        model: Model folder, or None if no weights are better than the initial ones.
        measures: Errors before and after.
    """

    frames: int
    held_out: int
    model: Path | None
    measures: tuple[Measure, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON types."""
        return {
            "frames": self.frames,
            "held_out": self.held_out,
            "model": None if self.model is None else str(self.model),
            "measures": [dataclasses.asdict(measure) for measure in self.measures],
        }

    def lines(self) -> list[str]:
        """Return the result as text."""
        kept = "no weights are better than the initial ones, so no model was written"
        return [
            f"{self.frames} training frames, {self.held_out} held-out frames",
            *map(str, self.measures),
            kept if self.model is None else f"wrote the model folder {self.model}",
        ]


def finetune(
    run: Path,
    dataset: HandDataset,
    start: Weights,
    *,
    steps: int | None = None,
    device: str = "cpu",
    max_minutes: float = math.inf,
    report: Callable[[dict[str, float]], None] = lambda row: None,
) -> Tuned:
    """Train weights on labeled frames and on synthetic crops, and measure the result on held-out frames.

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
        HandPoseError: There are too few frames, the layouts differ, or the run was started with other frames or
            settings.
    """
    labels = dataset.uvz if isinstance(dataset, RecordDataset) else dataset.xyz
    claim(run, {"start": start.sha256, "frames": len(dataset), "labels": digest(*dataset.files, labels.tobytes())})
    training, held_out = dataset.hold_out(HELD_OUT)
    config = tuning_config(len(training.usable), steps)
    with tuning_task(start, config, training, held_out, device=device) as task:
        best = tune(run, task, report, max_minutes=max_minutes)
    if best is None:
        return Tuned(len(training), len(held_out), None, ())
    folder = run / "model"
    write_folder(folder, best.weights.config, load_file(best.weights.model_file), force=True)
    calibrate(folder, _CALIBRATION_IMAGES, device)
    before, after = load_both(start, folder, device)
    measures = (
        Measure("mean joint error on held-out frames in mm", best.before["mean_mm"], best.after["mean_mm"]),
        Measure("median joint error on held-out frames in mm", best.before["median_mm"], best.after["median_mm"]),
        forgetting(before, after),
    )
    result = Tuned(len(training), len(held_out), folder, measures)
    write_card(folder, start, result, f"fine-tuned on {len(training)} labeled frames ({dataset.centers})")
    return result


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


def write_card(folder: Path, start: Weights, result: Tuned, what: str) -> None:
    """Write the model card of weights that were trained from others; `what` completes "These weights are NAME, "."""
    rows = "\n".join(f"| {m.name} | {m.before:.2f} | {m.after:.2f} |" for m in result.measures)
    text = f"""---
library_name: handpose
pipeline_tag: keypoint-detection
---

# {folder.resolve().parent.name}

These weights are `{start.name}`, {what}. Half of the crops in training were synthetic.

| | before | after |
|---|---|---|
{rows}

The held-out frames determined when the training was stopped. The calibration of the expected errors was computed on
synthetic images. Before these weights can be published, this card must state their license in its first lines.
"""
    write_atomically(folder / CARD_FILE, text.encode())
