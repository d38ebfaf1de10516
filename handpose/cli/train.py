"""`handpose train`."""

from __future__ import annotations

import enum
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from handpose.cli.console import progress, say, say_row, tell_of_the_first_time
from handpose.cli.options import Centers, Data, Layout, Optimizer, Root, Subject, Workers, open_chosen
from handpose.errors import HandPoseError


class Recipe(str, enum.Enum):
    """Training settings."""

    rendered = "rendered"
    paper = "paper"


def train(
    run: Annotated[Path, typer.Argument(help="Folder of the training; one that has a checkpoint is continued.")],
    data: Annotated[Data, typer.Option(help="Rendered hands, or a data set on your disk.")] = Data.synthetic,
    root: Root = None,
    layout: Annotated[Layout, typer.Option(help="Joint layout of rendered hands.")] = Layout.msra,
    centers: Centers = "refined",
    subject: Subject = None,
    workers: Workers = 0,
    recipe: Annotated[
        Recipe | None, typer.Option(help="The paper's settings (for data sets), or what suits rendered hands.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Length of the whole training; the learning rate's schedule fits it.")
    ] = None,
    start: Annotated[
        str | None, typer.Option(help="Weights to begin with, of any layout; as --model in `handpose predict`.")
    ] = None,
    batch: Annotated[int | None, typer.Option(min=2, help="Crops per step, instead of the recipe's.")] = None,
    optimizer: Optimizer = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Peak learning rate of the optimizer (default: that of the recipe).")
    ] = None,
    validate_every: Annotated[int | None, typer.Option(min=1, help="Steps between checkpoints.")] = None,
    max_minutes: Annotated[float, typer.Option(help="Stop then, with a checkpoint to go on from.")] = float("inf"),
    seed: Annotated[int, typer.Option(help="Of weights and data.")] = 1,
    device: Annotated[str, typer.Option(help="cpu, cuda, ...")] = "cpu",
    compile: Annotated[bool, typer.Option("--compile", help="Run the network through torch.compile.")] = False,
    sync_batchnorm: Annotated[
        bool, typer.Option("--sync-batchnorm", help="With torchrun: BatchNorm statistics over all GPUs.")
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Log for TensorBoard too. Needs the extra `tensorboard`.")
    ] = False,
    out: Annotated[Path | None, typer.Option("--output", "-o", help="Model folder to write in the end.")] = None,
) -> None:
    """Train on rendered hands (needs the extra `train` the first time, to make the hand) or on a data set."""
    import contextlib
    import dataclasses

    from handpose.network.config import JGRP2OConfig
    from handpose.training import trainer
    from handpose.training.config import TrainingConfig, paper_recipe
    from handpose.training.distributed import process_group
    from handpose.training.pose_task import write_model
    from handpose.weights.resolve import find_weights

    dataset = None if data is Data.synthetic else open_chosen(data, root, "train", centers, subject, None)
    if dataset is None:
        model = JGRP2OConfig(layout.value)
    else:
        model = JGRP2OConfig(dataset.layout.name, cube=float(dataset.cubes.max()))
    given = {"batch": batch, "learning_rate": learning_rate, "validate_every": validate_every, "steps": steps}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if dataset is not None and recipe is not Recipe.rendered:
        if optimizer == "muon":
            raise typer.BadParameter("the paper's recipe uses adam; pass --recipe rendered to train with muon")
        config = dataclasses.replace(paper_recipe(dataset.layout.name, len(dataset.usable), seed), **changes)
    elif recipe is Recipe.paper or steps is None:
        raise typer.BadParameter("rendered hands have no end: expected --steps, and no --recipe paper")
    else:
        config = TrainingConfig(**changes, optimizer="muon" if optimizer is None else optimizer.value, seed=seed)
    weights = None if start is None else find_weights(start)
    log = _tensorboard(run) if tensorboard else None

    def report(row: dict[str, float]) -> None:
        say_row(row)
        if log is not None:
            log(row)

    with process_group(device) as own_device, progress(config.steps) as on_step, contextlib.ExitStack() as stack:
        if dataset is None:
            from handpose.training.on_synthetic import synthetic_task

            tell_of_the_first_time("hand.npz")
            task = synthetic_task(model, config, own_device, start=weights)
        else:
            from handpose.training.on_real import dataset_task

            task = stack.enter_context(dataset_task(model, config, dataset, own_device, workers=workers, start=weights))
        trainer.train(
            run,
            task,
            report,
            max_minutes=max_minutes,
            on_step=on_step,
            compile=compile,
            sync_batchnorm=sync_batchnorm,
        )
    if os.environ.get("RANK", "0") == "0":
        if out is None:
            say(f"{run}: checkpoint kept; the same command with -o FOLDER writes its weights")
        else:
            write_model(run, out)
            say(f"{out}: weights written; `handpose predict IMAGE --model {out}` uses them")


def _tensorboard(run: Path) -> Callable[[dict[str, float]], None]:
    """What writes a row of numbers into the run's folder for TensorBoard."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise HandPoseError(
            "--tensorboard needs the package tensorboard: pip install 'handpose[tensorboard]'"
        ) from None
    writer = SummaryWriter(str(run))

    def log(row: dict[str, float]) -> None:
        for name, value in row.items():
            writer.add_scalar(name, value, int(row["step"]))
        writer.flush()

    return log
