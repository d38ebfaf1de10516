"""`handpose train`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from handpose.cli.console import note_first_generation, print_row, progress, say
from handpose.cli.options import Centers, Data, Device, Root, Subject, TestShare, Workers, open_data, subjects_of
from handpose.io.choices import LayoutName, Optimizer

if TYPE_CHECKING:
    from handpose.datasets.dataset import HandDataset
    from handpose.training.config import TrainingConfig

_Recipe = Literal["rendered", "paper"]


def train(
    run: Annotated[Path, typer.Argument(help="Folder of the training run; resumed if it contains a checkpoint.")],
    data: Annotated[Data, typer.Option(help="Training data: synthetic hands or a data set.")] = "synthetic",
    root: Root = None,
    layout: Annotated[LayoutName, typer.Option(help="Joint layout of the synthetic hands.")] = "msra",
    centers: Centers = "refined",
    subject: Subject = None,
    test_share: TestShare = 0.0,
    workers: Workers = 0,
    recipe: Annotated[
        _Recipe | None,
        typer.Option(
            help="Training settings: those of the paper (data sets) or of the built-in weights (synthetic hands)."
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Total number of training steps; determines the learning rate schedule."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(help="Initial weights, as --model in `handpose predict`; of any layout with synthetic hands."),
    ] = None,
    batch: Annotated[int | None, typer.Option(min=2, help="Batch size (default: that of the recipe).")] = None,
    optimizer: Annotated[
        Optimizer | None, typer.Option(help="Optimizer (default: muon; the paper's recipe uses adam).")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Peak learning rate of the optimizer (default: that of the recipe).")
    ] = None,
    validation: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=0.5,
            help="Share of the data set's training frames that are used for validation instead (default: 0 with the "
            "paper's recipe, otherwise 0.02).",
        ),
    ] = None,
    validate_every: Annotated[int | None, typer.Option(min=1, help="Number of steps between checkpoints.")] = None,
    max_minutes: Annotated[float, typer.Option(help="Stop after this many minutes and save a checkpoint.")] = float(
        "inf"
    ),
    seed: Annotated[int, typer.Option(help="Random seed of weights and data.")] = 1,
    device: Device = "cpu",
    compile: Annotated[bool, typer.Option("--compile", help="Compile the network with torch.compile.")] = False,
    sync_batchnorm: Annotated[
        bool, typer.Option("--sync-batchnorm", help="With torchrun: synchronize BatchNorm statistics over all GPUs.")
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also log for TensorBoard. Requires the extra `tensorboard`.")
    ] = False,
    out: Annotated[Path | None, typer.Option("--output", "-o", help="Model folder to write after training.")] = None,
) -> None:
    """Train on synthetic hands (requires the extra `train` on first use) or on a data set.

    With --subject all, nine networks are trained one after the other, in the folders P0 to P8 of RUN and OUTPUT.
    """
    import contextlib
    import math
    import time

    from handpose.network.config import JGRP2OConfig
    from handpose.training import trainer
    from handpose.training.distributed import process_group
    from handpose.training.on_real import dataset_task
    from handpose.training.pose_task import write_model
    from handpose.training.tensorboard import tensorboard_log
    from handpose.weights.resolve import find_weights

    weights = None if start is None else find_weights(start)
    options = {"batch": batch, "learning_rate": learning_rate, "validate_every": validate_every, "steps": steps}
    changes = {name: value for name, value in options.items() if value is not None}
    end = time.monotonic() + 60.0 * max_minutes

    def train_one(run: Path, subject: int | None, device: str) -> None:
        dataset, held_out, model = None, None, JGRP2OConfig(layout)
        if data != "synthetic":
            dataset = open_data(data, root, "train", centers, subject, test_share=test_share)
            model = JGRP2OConfig(dataset.layout.name, cube=float(dataset.cubes.max()))
            share = (0.02 if recipe == "rendered" else 0.0) if validation is None else validation
            if share > 0.0:
                dataset, held_out = dataset.hold_out(share)
        config = _training_config(dataset, recipe, optimizer, changes, seed)
        logs = [print_row, *([tensorboard_log(run)] if tensorboard else [])]

        def report(row: dict[str, float]) -> None:
            for log in logs:
                log(row)

        with progress(config.steps) as on_step, contextlib.ExitStack() as stack:
            if dataset is None:
                from handpose.training.on_synthetic import synthetic_task

                note_first_generation("hand.npz")
                task = synthetic_task(model, config, device, start=weights)
            else:
                task = stack.enter_context(
                    dataset_task(model, config, dataset, device, held_out=held_out, workers=workers, start=weights)
                )
            trainer.train(
                run,
                task,
                report,
                max_minutes=(end - time.monotonic()) / 60.0 if math.isfinite(end) else math.inf,
                on_step=on_step,
                compile=compile,
                sync_batchnorm=sync_batchnorm,
            )

    with process_group(device) as own_device:
        subjects = subjects_of(data, subject)
        for one in subjects:
            folder = run if len(subjects) == 1 else run / f"P{one}"
            if one != subjects[0] and time.monotonic() >= end:
                say(f"{run}: the time is up before {folder.name}; run the same command again to continue")
                return
            train_one(folder, one, own_device)
            if os.environ.get("RANK", "0") != "0":
                continue
            if out is None:
                say(f"{folder}: wrote the checkpoint; run the same command with -o FOLDER to write a model folder")
            else:
                target = out if len(subjects) == 1 else out / folder.name
                write_model(folder, target)
                say(f"{target}: wrote the model folder; use it with handpose predict IMAGE --model {target}")


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
            raise typer.BadParameter("the paper's recipe uses adam; pass --recipe rendered to train with muon")
        paper = paper_recipe(dataset.layout.name, len(dataset.usable), seed, changes.get("batch", 32))
        return dataclasses.replace(paper, **changes)
    if recipe == "paper" or "steps" not in changes:
        raise typer.BadParameter("synthetic data is endless: --steps is required, and --recipe paper is not supported")
    return TrainingConfig(**changes, optimizer=optimizer or "muon", seed=seed)
