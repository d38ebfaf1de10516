"""`handpose train`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from handpose.cli.console import activities, is_first_process, note, print_row
from handpose.cli.options import (
    Centers,
    Data,
    Device,
    Force,
    Root,
    Subject,
    TestShare,
    Workers,
    open_data,
    prepare_records,
    subjects_of,
)
from handpose.cli.signals import stop_on_signal
from handpose.errors import HandPoseError
from handpose.io.choices import LayoutName, Optimizer
from handpose.io.extras import require_extra
from handpose.io.outputs import refuse_existing

if TYPE_CHECKING:
    from handpose.datasets.dataset import HandDataset
    from handpose.training.config import TrainingConfig

_Recipe = Literal["rendered", "paper"]


def train(
    run: Annotated[Path, typer.Argument(metavar="FOLDER", help="Training run; resumed if it exists.")],
    data: Annotated[Data, typer.Option(metavar="DATA", help="synthetic, icvl, nyu, msra or records.")] = "synthetic",
    root: Root = None,
    layout: Annotated[LayoutName, typer.Option(help="Joint layout of the synthetic hands.")] = "msra",
    centers: Centers = "refined",
    subject: Subject = None,
    test_share: TestShare = 0.0,
    workers: Workers = 0,
    recipe: Annotated[
        _Recipe | None,
        typer.Option(help="Training settings.", show_default="paper with data sets"),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Total number of steps; determines the schedule."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Initial weights, as --model in `handpose predict`."),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(metavar="N", min=2, help="Batch size.", show_default="that of the recipe")
    ] = None,
    optimizer: Annotated[
        Optimizer | None, typer.Option(help="Optimizer.", show_default="muon; adam with the paper's recipe")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(metavar="RATE", help="Peak learning rate.", show_default="that of the recipe")
    ] = None,
    validation: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE", min=0.0, max=0.5, help="Share of frames for validation.", show_default="by recipe"
        ),
    ] = None,
    validate_every: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Number of steps between validations.")
    ] = None,
    max_minutes: Annotated[
        float | None, typer.Option(metavar="MINUTES", help="Stop after this time and save a checkpoint.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Random seed of weights and data.")] = 1,
    device: Device = "auto",
    compile: Annotated[bool, typer.Option("--compile", help="Compile the network with torch.compile.")] = False,
    sync_batchnorm: Annotated[
        bool, typer.Option("--sync-batchnorm", help="With torchrun: same BatchNorm statistics on all GPUs.")
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also log for TensorBoard (extra `tensorboard`).")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FOLDER", help="Model folder to write after the last step.")
    ] = None,
    force: Force = False,
) -> None:
    """Train on synthetic hands or on a data set.

    Synthetic hands require the extra `train` on first use. Without --validation, 2% of the frames of a data set are
    used for validation, and none with the paper's recipe. With --subject all, nine networks are trained one after the
    other, in the folders P0 to P8 of the run and of the output.

    A checkpoint is saved before every validation, after --max-minutes, on Ctrl-C and on SIGTERM; the same command
    resumes the training. Exit code: 0 success or --max-minutes, 130 Ctrl-C, 143 SIGTERM, 2 usage error.
    """
    import contextlib
    import math
    import time

    from handpose.network.config import JGRP2OConfig
    from handpose.training import trainer
    from handpose.training.distributed import process_group, training_device
    from handpose.training.on_real import dataset_task
    from handpose.training.pose_task import write_model
    from handpose.weights.resolve import find_weights

    subjects = subjects_of(data, subject)
    folders = _folders(run, output, subjects, force)
    if tensorboard:
        require_extra("tensorboard", "--tensorboard")
    device = training_device(device)
    weights = None if start is None else find_weights(start)
    options = {"batch": batch_size, "learning_rate": learning_rate, "validate_every": validate_every, "steps": steps}
    changes = {name: value for name, value in options.items() if value is not None}
    end = math.inf if max_minutes is None else time.monotonic() + 60.0 * max_minutes
    signals: list[int] = []

    def train_one(run: Path, subject: int | None, device: str) -> tuple[int, int]:
        """Train one network, and return the number of completed steps and the total number of steps."""
        dataset, held_out, model = None, None, JGRP2OConfig(layout)
        if data != "synthetic":
            dataset = open_data(data, root, "train", centers, subject, test_share=test_share)
            model = JGRP2OConfig(dataset.layout.name, cube=float(dataset.cubes.max()))
            share = (0.02 if recipe == "rendered" else 0.0) if validation is None else validation
            dataset, held_out = _prepare(dataset, share)
        config = _training_config(dataset, recipe, optimizer, changes, seed)
        with contextlib.ExitStack() as stack:
            if dataset is None:
                from handpose.training.on_synthetic import synthetic_task

                task = synthetic_task(model, config, device, start=weights)
            else:
                task = stack.enter_context(
                    dataset_task(model, config, dataset, device, held_out=held_out, workers=workers, start=weights)
                )
            stops = stack.enter_context(
                stop_on_signal(f"{run}: stopping after this step; press Ctrl-C again to stop at once")
            )
            done = trainer.train(
                run,
                task,
                _report(run, tensorboard),
                max_minutes=(end - time.monotonic()) / 60.0,
                should_stop=lambda: bool(stops),
                compile=compile,
                sync_batchnorm=sync_batchnorm,
            )
            signals.extend(stops)
        return done, config.steps

    with process_group(device) as own_device, activities():
        for one, (folder, model_folder) in folders.items():
            if one != subjects[0] and time.monotonic() >= end:
                note(f"{run}: the time is up before {folder.name}; run the same command again to resume")
                return
            done, total = train_one(folder, one, own_device)
            if done == total and model_folder is not None and is_first_process():
                write_model(folder, model_folder, force=True)
            note(_result(folder, model_folder, done, total))
            if signals or done < total:
                break
    if signals:
        raise typer.Exit(128 + signals[0])


def _folders(
    run: Path, output: Path | None, subjects: list[int | None], force: bool
) -> dict[int | None, tuple[Path, Path | None]]:
    """Return the folders of the run and of the model of each subject; with several subjects, each has subfolders.

    Raises:
        HandPoseError: A model already exists.
    """
    folders = dict.fromkeys(subjects, (run, output))
    if len(subjects) > 1:
        folders = {one: (run / f"P{one}", None if output is None else output / f"P{one}") for one in subjects}
    for own_run, model in folders.values():
        if model is not None:
            # A run over several subjects is resumed after some of its models are written.
            refuse_existing(model / "config.json", force=force or (len(subjects) > 1 and own_run.exists()))
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


def _result(run: Path, model: Path | None, done: int, total: int) -> str:
    """Describe what a training wrote, and how to continue."""
    if done < total:
        return f"{run}: stopped after step {done:,} of {total:,} and saved; run the same command again to resume"
    if model is None:
        return f"{run}: wrote the checkpoint; run the same command with -o FOLDER to write a model folder"
    return f"{model}: wrote the model folder; use it with handpose predict IMAGE -m {model}"


def _prepare(dataset: HandDataset, validation: float) -> tuple[HandDataset, HandDataset | None]:
    """Return the frames to train on, after a check of their labels if they are records, and those for validation."""
    from handpose.datasets.records import RecordDataset
    from handpose.weights.resolve import find_weights

    if isinstance(dataset, RecordDataset):
        dataset = prepare_records(dataset, find_weights(dataset.layout.name).model_file.parent)
    return dataset.hold_out(validation) if validation > 0.0 else (dataset, None)


def _training_config(
    dataset: HandDataset | None,
    recipe: _Recipe | None,
    optimizer: Optimizer | None,
    changes: dict[str, Any],
    seed: int,
) -> TrainingConfig:
    """Return the settings of the recipe (by default, the one for the training data) with the changes applied."""
    import dataclasses

    from handpose.training.config import TrainingConfig, paper_recipe

    if dataset is not None and recipe != "rendered":
        if optimizer == "muon":
            raise HandPoseError("the paper's recipe uses adam; pass --recipe rendered to train with muon")
        paper = paper_recipe(dataset.layout.name, len(dataset.usable), seed, changes.get("batch", 32))
        return dataclasses.replace(paper, **changes)
    if recipe == "paper" or "steps" not in changes:
        raise HandPoseError("synthetic data is endless: --steps is required, and --recipe paper is not supported")
    return TrainingConfig(**changes, optimizer=optimizer or "muon", seed=seed)
