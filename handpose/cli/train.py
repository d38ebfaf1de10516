"""`handpose train`."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeGuard

import typer

from handpose.cli.console import activities, is_first_process, note, print_row
from handpose.cli.groups import LabeledData
from handpose.cli.options import Device, Force
from handpose.cli.recipe import Recipe
from handpose.cli.signals import stop_on_signal
from handpose.errors import HandPoseError
from handpose.io.choices import LayoutName
from handpose.io.extras import require_extra
from handpose.io.outputs import refuse_existing

if TYPE_CHECKING:
    from handpose.training.pose_task import PoseTask
    from handpose.weights.folder import Weights

_OUTPUT_FILE = "output.txt"
"""File in the folder of a run that contains the path of its model, which the resumed run may therefore replace."""


def train(
    run: Annotated[Path, typer.Argument(metavar="FOLDER", help="Training run; resumed if it exists.")],
    data: LabeledData,
    recipe: Recipe,
    layout: Annotated[
        LayoutName | None, typer.Option(help="Joint layout of the synthetic hands.", show_default="msra")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Initial weights, as --model in `handpose predict`."),
    ] = None,
    max_minutes: Annotated[
        float | None, typer.Option(metavar="MINUTES", help="Stop after this time and save a checkpoint.")
    ] = None,
    device: Device = "auto",
    compile: Annotated[bool, typer.Option("--compile", help="Compile the network with torch.compile.")] = False,
    sync_batchnorm: Annotated[
        bool, typer.Option("--sync-batchnorm", help="With torchrun: same BatchNorm statistics on all GPUs.")
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also log for TensorBoard (extra `tensorboard`).")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FOLDER", help="Model folder to write at the end.")
    ] = None,
    force: Force = False,
) -> None:
    """Train on synthetic hands or on a data set.

    Synthetic hands require the extra `train` on first use. Without --validation, 2% of the frames of a data set are
    used for validation, and none with the paper's recipe. With --subject all, nine networks are trained one after the
    other, in the folders P0 to P8 of the run and of the output.

    A checkpoint is saved before every validation, after --max-minutes, on Ctrl-C and on SIGTERM; the same command
    resumes the training. The model folder is written after the last step, and after --max-minutes. Exit code: 0 success
    or --max-minutes, 130 Ctrl-C, 143 SIGTERM, 2 usage error.
    """
    import math
    import time

    import torch

    from handpose.adaptation.claim import claimed
    from handpose.training import trainer
    from handpose.training.distributed import Processes, process_group, training_device
    from handpose.weights.resolve import find_weights

    if layout is not None and data.data != "synthetic":
        raise HandPoseError(f"--layout is for synthetic hands; --data {data.data} has its own layout; omit it")
    subjects = data.subjects()
    folders = _folders(run, output, subjects, force)
    if tensorboard:
        require_extra("tensorboard", "--tensorboard")
    device = training_device(device)
    weights = None if start is None else find_weights(start)
    end = math.inf if max_minutes is None else time.monotonic() + 60.0 * max_minutes
    signals: list[int] = []
    with process_group(device) as own_device, activities():
        for one, (folder, model) in folders.items():
            if one != subjects[0] and Processes().broadcast(time.monotonic() >= end, torch.device(own_device)):
                note(f"{run}: the time is up before {folder.name}; run the same command again to resume")
                return
            stopping = f"{folder}: stopping after this step"
            described = _task(data, one, recipe, layout, own_device, weights)
            with (
                described as (task, what, inputs),
                stop_on_signal(stopping) as signals,
                contextlib.ExitStack() as stack,
            ):
                if is_first_process():
                    stack.enter_context(claimed(folder, inputs))
                done = trainer.train(
                    folder,
                    task,
                    _report(folder, tensorboard),
                    max_minutes=(end - time.monotonic()) / 60.0,
                    should_stop=functools.partial(bool, signals),
                    compile=compile,
                    sync_batchnorm=sync_batchnorm,
                )
            is_new = True
            if _is_written(model, done, task.config.steps, stopped=bool(signals)) and is_first_process():
                is_new = _write(folder, model, what, weights)
            note(_describe(folder, model, done, task.config.steps, stopped=bool(signals), is_new=is_new))
            if signals or done < task.config.steps:
                break
    if signals:
        raise typer.Exit(128 + signals[0])


@contextlib.contextmanager
def _task(
    data: LabeledData,
    subject: int | None,
    recipe: Recipe,
    layout: LayoutName | None,
    device: str,
    weights: Weights | None,
) -> Iterator[tuple[PoseTask, str, dict[str, Any]]]:
    """Provide what one network is trained on, its description, and what must be the same when it is resumed."""
    from handpose.adaptation.claim import frames_of
    from handpose.network.config import JGRP2OConfig
    from handpose.training.card import describe_data
    from handpose.training.on_real import dataset_task

    dataset = data.open("train", subject)
    inputs = {"data": data.data, "start": None if weights is None else weights.sha256}
    if dataset is None:
        from handpose.training.on_synthetic import synthetic_task

        task = synthetic_task(JGRP2OConfig(layout or "msra"), recipe.config(None), device, start=weights)
        yield task, "synthetic hands", inputs
        return
    model = JGRP2OConfig(dataset.layout.name, cube=float(dataset.cubes.max()))
    dataset, held_out = recipe.split(dataset)
    with dataset_task(
        model, recipe.config(dataset), dataset, device, held_out=held_out, workers=data.workers, start=weights
    ) as task:
        yield task, describe_data(dataset, held_out), inputs | frames_of(dataset)


def _folders(
    run: Path, output: Path | None, subjects: list[int | None], force: bool
) -> dict[int | None, tuple[Path, Path | None]]:
    """Return the folders of the run and of the model of each subject; with several subjects, each has subfolders.

    Raises:
        HandPoseError: A model already exists that is not of this run.
    """
    folders = dict.fromkeys(subjects, (run, output))
    if len(subjects) > 1:
        folders = {one: (run / f"P{one}", None if output is None else output / f"P{one}") for one in subjects}
    for own_run, model in folders.values():
        if model is not None:
            marker = own_run / _OUTPUT_FILE
            is_own = marker.is_file() and marker.read_text(encoding="utf-8") == str(model.resolve())
            refuse_existing(model / "config.json", force=force or is_own)
    return folders


def _report(run: Path, tensorboard: bool) -> Callable[[dict[str, float]], None]:
    """Return a function that prints a row of values, and logs it for TensorBoard if desired."""
    from handpose.training.tensorboard import tensorboard_log

    log = tensorboard_log(run) if tensorboard else None

    def report(row: dict[str, float]) -> None:
        print_row(row)
        if log is not None:
            log(row)

    return report


def _is_written(model: Path | None, done: int, total: int, *, stopped: bool) -> TypeGuard[Path]:
    """Return whether the model folder is written, which it is unless the user stopped the training."""
    return model is not None and (done == total or not stopped)


def _write(run: Path, model: Path, data: str, start: Weights | None) -> bool:
    """Write the model folder and its card, unless it has these weights, and return whether it was written."""
    from handpose.training.card import write_training_card
    from handpose.training.pose_task import write_model
    from handpose.weights.folder import CARD_FILE

    (run / _OUTPUT_FILE).write_text(str(model.resolve()), encoding="utf-8")
    is_new = write_model(run, model, force=True)
    if is_new or not (model / CARD_FILE).is_file():
        write_training_card(run, model, data, start)
    return is_new


def _describe(run: Path, model: Path | None, done: int, total: int, *, stopped: bool, is_new: bool) -> str:
    """Describe what was written and how to continue."""
    from handpose.weights.resolve import model_argument

    if _is_written(model, done, total, stopped=stopped):
        if not is_new:
            return f"{model}: already contains these weights, and was not changed"
        if done == total:
            return (
                f"{model}: wrote the model folder; use it with handpose predict IMAGE -m {model_argument(model)}, and "
                f"make its heads with handpose train-heads {model}"
            )
        return f"{model}: wrote the weights of step {done:,} of {total:,}; run the same command again to resume"
    if done < total:
        text = f"{run}: stopped after step {done:,} of {total:,} and saved; run the same command again to resume"
        return text if stopped else f"{text}, with -o FOLDER to write its weights, too"
    return f"{run}: wrote the checkpoint; run the same command with -o FOLDER to write a model folder"
