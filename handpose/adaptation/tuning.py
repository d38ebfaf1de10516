"""Training that starts from good weights, stops early, and returns the best weights if they are better."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from handpose.adaptation.announce import Pace
from handpose.adaptation.task import TuningTask
from handpose.network.model import JGRP2O
from handpose.training.checkpoint import load_state
from handpose.training.log import read_rows
from handpose.training.pose_task import write_model
from handpose.training.trainer import train
from handpose.weights.folder import Weights, read_folder, write_folder

MAX_FORGETTING_MM = 0.3
"""Increase of the mean error on synthetic images, in mm, above which weights are not kept."""

_MAX_IN_MIXTURE_MM = MAX_FORGETTING_MM / 2  # because it is measured on few crops

_PATIENCE = 4  # validations without an improvement, until the training is stopped
_SHARES_OF_TUNED = tuple(tenths / 10 for tenths in range(1, 11))


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
    tolerance: float = 0.0,
) -> Best | None:
    """Train until the error on the held-out frames no longer decreases, and return the best weights.

    If the error of these weights on synthetic crops exceeds that of the initial weights by more than half of
    `MAX_FORGETTING_MM`, they are mixed with the initial weights. A run that was killed at any moment is resumed, and
    returns the same weights as without the interruption.

    Args:
        run: Folder of the run.
        task: The task.
        report: Called with the metrics of the initial weights, and with those of every validation, to which
            `minutes_left` is added.
        max_minutes: Stop this call after this many minutes.
        tolerance: Relative increase of the error on the held-out frames that is accepted for a smaller share of the
            initial weights in the mixture.

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
    return (
        None
        if best_row() is start
        else _blend(run / "blend", task, read_folder(best, best.name).load(), start, tolerance)
    )


def _blend(folder: Path, task: TuningTask, tuned: JGRP2O, before: dict[str, float], tolerance: float) -> Best | None:
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
        if metrics["synthetic_mm"] <= before["synthetic_mm"] + _MAX_IN_MIXTURE_MM:
            results.append((metrics["mean_mm"], metrics, state))
    limit = (1.0 + tolerance) * min((after for after, *_ in results), default=math.inf)
    better = [result for result in results if result[0] <= limit and result[0] < before["mean_mm"]]
    if not better:
        return None
    _, metrics, state = better[-1]  # the largest share of the tuned weights
    half = {name: value.half().cpu().numpy() for name, value in state.items() if "num_batches_tracked" not in name}
    write_folder(folder, task.network, half, force=True)
    return Best(read_folder(folder, folder.name), before, metrics)
