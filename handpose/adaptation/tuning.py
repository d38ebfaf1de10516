"""Training that starts from good weights, stops early, and returns the best weights if they are better."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from handpose.adaptation.announce import Pace
from handpose.datasets.dataset import HandDataset
from handpose.errors import HandPoseError
from handpose.io.atomic import write_atomically
from handpose.io.text import MAX_SETTINGS_BYTES, read_text
from handpose.network.model import JGRP2O
from handpose.training.checkpoint import check_settings, load_state
from handpose.training.config import TrainingConfig
from handpose.training.log import read_rows
from handpose.training.mixed_crops import MixedCrops
from handpose.training.on_real import dataset_task
from handpose.training.on_synthetic import synthetic_task
from handpose.training.pose_task import PoseTask, write_model
from handpose.training.trainer import train
from handpose.weights.folder import Weights, read_folder, write_folder

HELD_OUT = 0.2
"""Share of the frames that are held out, to stop the training and to measure the result."""

CALIBRATION_IMAGES = 400
"""Number of synthetic images that the new weights are calibrated on."""

MAX_FORGETTING_MM = 0.3
"""Increase of the mean error on synthetic crops, in mm, above which weights are not kept."""

_INPUTS_FILE = "inputs.json"
_SYNTHETIC_SHARE = 0.5
_BATCH = 32
_STEPS_PER_FRAME, _MIN_STEPS, _MAX_STEPS = 4, 400, 2000
_VALIDATIONS, _MIN_INTERVAL = 10, 50  # number per training, and minimum number of steps between them
_PATIENCE = 4  # validations without an improvement, until the training is stopped
_SYNTHETIC_CROPS = 300  # for validation
_SHARES_OF_TUNED = tuple(tenths / 10 for tenths in range(1, 11))


def tuning_config(frames: int, steps: int | None = None, seed: int = 1) -> TrainingConfig:
    """Return the settings for this number of training frames."""
    steps = min(max(_STEPS_PER_FRAME * frames, _MIN_STEPS), _MAX_STEPS) if steps is None else steps
    return TrainingConfig(
        steps,
        batch=_BATCH,
        optimizer="adam",
        learning_rate=3e-4,
        average=0.99,
        # The statistics of batches in which half of the crops are real would change those of synthetic crops at once.
        frozen_statistics=True,
        validate_every=max(_MIN_INTERVAL, steps // _VALIDATIONS),
        seed=seed,
    )


def claim(run: Path, inputs: Mapping[str, Any]) -> None:
    """Record the inputs of a run, and reject resuming it with other inputs.

    Args:
        run: Folder of the run, which is created.
        inputs: Everything that determines the result except for the training settings, as JSON types.

    Raises:
        HandPoseError: The run was started with other inputs.
    """
    file = run / _INPUTS_FILE
    if file.is_file():
        check_settings(run, json.loads(read_text(file, MAX_SETTINGS_BYTES)), inputs)
        return
    run.mkdir(parents=True, exist_ok=True)
    write_atomically(file, json.dumps(inputs).encode())


def digest(*parts: str | bytes) -> str:
    """Return a short fingerprint of texts and bytes."""
    total = hashlib.sha256()
    for part in parts:
        total.update(part.encode() if isinstance(part, str) else part)
        total.update(b"\0")
    return total.hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class TuningTask(PoseTask):
    """The task of training on real and synthetic crops.

    Attributes:
        synthetic: Synthetic patches (N, 1, 96, 96) and joints (N, J, 3) for validation, both normalized.
    """

    synthetic: tuple[Tensor, Tensor] | None = None

    def validate(self, network: JGRP2O) -> dict[str, float]:
        """Return the metrics on the held-out frames, and `synthetic_mm`, the mean error on synthetic crops in mm."""
        metrics = super().validate(network)
        others = dataclasses.replace(self, validation=self.synthetic, synthetic=None)
        return {**metrics, "synthetic_mm": PoseTask.validate(others, network)["mean_mm"]}


@contextmanager
def tuning_task(
    start: Weights,
    config: TrainingConfig,
    dataset: HandDataset,
    held_out: HandDataset,
    *,
    device: str = "cpu",
    workers: int = 0,
    noise: bool = False,
) -> Iterator[TuningTask]:
    """Provide the task of tuning weights on a data set, and stop its worker processes afterward.

    Args:
        start: The weights.
        config: Training settings.
        dataset: Frames to train on.
        held_out: Frames for validation.
        device: Device of the network.
        workers: Number of processes that load images.
        noise: Whether half of the crops get the noise of a simulated sensor.

    Raises:
        HandPoseError: The joint layouts differ, or no frame is usable.
    """
    # The calibration is only valid for the initial weights.
    network = dataclasses.replace(start.config, calibration=None)
    with dataset_task(network, config, dataset, device, held_out=held_out, workers=workers, start=start) as real:
        rendered = synthetic_task(network, config)
        if rendered.validation is None:
            raise HandPoseError("the synthetic crops have no validation")
        patches, truth = (part[:_SYNTHETIC_CROPS].to(device) for part in rendered.validation)
        source = MixedCrops(real.source, rendered.source, _SYNTHETIC_SHARE, noise=noise)  # type: ignore[arg-type]
        yield TuningTask(
            network, config, source, real.validation, device, real.start, source.seek, synthetic=(patches, truth)
        )


@dataclass(frozen=True)
class Best:
    """The best weights of a run.

    Attributes:
        weights: The weights.
        before: Metrics of the initial weights.
        after: Metrics of these weights.
    """

    weights: Weights
    before: dict[str, float]
    after: dict[str, float]


class _StalledError(Exception):
    """The error on the held-out frames has not decreased for a while."""


def tune(
    run: Path,
    task: TuningTask,
    report: Callable[[dict[str, float]], None],
    *,
    max_minutes: float = math.inf,
) -> Best | None:
    """Train until the error on the held-out frames no longer decreases, and return the best weights.

    If the error of these weights on synthetic crops exceeds that of the initial weights by more than
    `MAX_FORGETTING_MM`, they are mixed with the initial weights. A run that was killed at any moment is resumed, and
    returns the same weights as without the interruption.

    Args:
        run: Folder of the run.
        task: The task.
        report: Called with the metrics of the initial weights, and with those of every validation, to which
            `minutes_left` is added.
        max_minutes: Stop this call after this many minutes.

    Returns:
        The best weights, or None if none are better than the initial ones.
    """
    start = {"step": 0.0, **task.validate(task.build().to(task.device).eval())}
    best, pace = run / "best", Pace(task.config.steps, max_minutes)
    state = load_state(run)
    rows = [] if state is None else [row for row in read_rows(run) if row["step"] <= state["steps"]]

    def best_row() -> dict[str, float]:
        return min([start, *rows], key=lambda row: row["mean_mm"])

    def keep_best() -> None:
        if rows and best_row() is rows[-1]:
            write_model(run, best, force=True)

    def is_stalled() -> bool:
        validations = int(rows[-1]["step"] - best_row()["step"]) // task.config.validate_every if rows else 0
        return validations >= _PATIENCE

    def on_row(row: dict[str, float]) -> None:
        rows.append(row)
        left = pace.minutes_left(int(row["step"]))
        report(row if left is None else {**row, "minutes_left": round(left, 1)})
        keep_best()
        if is_stalled():
            raise _StalledError

    report(start)
    if state is not None and rows and rows[-1]["step"] == state["steps"]:
        keep_best()  # the process may have been killed before it did this
    if not is_stalled():
        try:
            train(run, task, on_row, max_minutes=max_minutes, on_step=pace.on_step)
        except _StalledError:
            pass
    return None if best_row() is start else _blend(run / "blend", task, read_folder(best, best.name).load(), start)


def _blend(folder: Path, task: TuningTask, tuned: JGRP2O, before: dict[str, float]) -> Best | None:
    """Write the weights between those at the start and the tuned ones that are best without forgetting, if any.

    Because both have the same BatchNorm statistics, weights in between keep what either of them has learned.
    """
    from torch import lerp

    network = task.build().to(task.device).eval()
    first, last = ({name: value.clone() for name, value in each.state_dict().items()} for each in (network, tuned))
    results = []
    for share in _SHARES_OF_TUNED:
        state = {name: lerp(first[name].float(), last[name].float().to(first[name].device), share) for name in first}
        network.load_state_dict(state)
        metrics = task.validate(network)
        if metrics["synthetic_mm"] <= before["synthetic_mm"] + MAX_FORGETTING_MM:
            results.append((metrics["mean_mm"], metrics, state))
    after, metrics, state = min(results, key=lambda result: result[0], default=(math.inf, {}, {}))
    if after >= before["mean_mm"]:
        return None
    half = {name: value.half().cpu().numpy() for name, value in state.items() if "num_batches_tracked" not in name}
    write_folder(folder, task.network, half, force=True)
    return Best(read_folder(folder, folder.name), before, metrics)
