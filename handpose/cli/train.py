"""The command line for researchers: train, evaluate, calibrate, ablate."""

from __future__ import annotations

import contextlib
import enum
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from handpose.cli.console import Layout, say, say_row
from handpose.errors import HandPoseError

if TYPE_CHECKING:
    from handpose.datasets.dataset import HandDataset
    from handpose.evaluation.report import Report
    from handpose.training.ablations import Variant

app = typer.Typer()


class Data(str, enum.Enum):
    """What to train or measure on."""

    synthetic = "synthetic"
    icvl = "icvl"
    nyu = "nyu"
    msra = "msra"


class Recipe(str, enum.Enum):
    """How to train."""

    rendered = "rendered"
    paper = "paper"


_Root = Annotated[Path | None, typer.Option(help="The data set's folder.")]
_Centers = Annotated[
    str, typer.Option(help="Where hand centres come from: refined, truth, localize, or a folder of centre files.")
]
_Subject = Annotated[int | None, typer.Option(help="MSRA's test subject, 0 to 8.")]
_Workers = Annotated[int, typer.Option(min=0, help="Processes that read images.")]


@app.command()
def train(
    run: Annotated[Path, typer.Argument(help="Folder of the training; one that has a checkpoint is continued.")],
    data: Annotated[Data, typer.Option(help="Rendered hands, or a data set on your disk.")] = Data.synthetic,
    root: _Root = None,
    layout: Annotated[Layout, typer.Option(help="Joint layout of rendered hands.")] = Layout.msra,
    centers: _Centers = "refined",
    subject: _Subject = None,
    workers: _Workers = 0,
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
    learning_rate: Annotated[float | None, typer.Option(help="Adam's, instead of the recipe's.")] = None,
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
    import dataclasses

    from handpose.network.config import JGRP2OConfig
    from handpose.training.config import TrainingConfig, paper_recipe
    from handpose.training.distributed import process_group
    from handpose.training.trainer import write_model
    from handpose.weights.resolve import find_weights

    dataset = None if data is Data.synthetic else _dataset(data, root, "train", centers, subject, None)
    if dataset is None:
        model = JGRP2OConfig(layout.value)
    else:
        model = JGRP2OConfig(dataset.layout.name, cube=float(dataset.cubes.max()))
    given = {"batch": batch, "learning_rate": learning_rate, "validate_every": validate_every, "steps": steps}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if dataset is not None and recipe is not Recipe.rendered:
        config = dataclasses.replace(paper_recipe(dataset.layout.name, len(dataset.usable), seed), **changes)
    elif recipe is Recipe.paper or steps is None:
        raise typer.BadParameter("rendered hands have no end: expected --steps, and no --recipe paper")
    else:
        config = TrainingConfig(**changes, seed=seed)
    weights = None if start is None else find_weights(start)
    log = _tensorboard(run) if tensorboard else None

    def report(row: dict[str, float]) -> None:
        say_row(row)
        if log is not None:
            log(row)

    with process_group(device) as own_device, _progress(config.steps) as on_step:
        common: dict[str, Any] = {"max_minutes": max_minutes, "on_step": on_step, "start": weights}
        common |= {"compile": compile, "sync_batchnorm": sync_batchnorm}
        if dataset is None:
            from handpose.training.on_synthetic import train_synthetic

            _tell_of_the_first_time("hand.npz")
            train_synthetic(run, model, config, own_device, report, **common)
        else:
            from handpose.training.on_real import train_dataset

            train_dataset(run, model, config, dataset, own_device, report, workers=workers, **common)
    if os.environ.get("RANK", "0") == "0":
        if out is None:
            say(f"{run}: checkpoint kept; the same command with -o FOLDER writes its weights")
        else:
            write_model(run, out)
            say(f"{out}: weights written; `handpose predict IMAGE --model {out}` uses them")


@app.command()
def evaluate(
    model: Annotated[
        list[str] | None, typer.Option("--model", "-m", help="As in `handpose predict`; may repeat.")
    ] = None,
    data: Annotated[
        Data, typer.Option("--data", "--dataset", help="What to measure on; with --predictions, whose joints they are.")
    ] = Data.synthetic,
    root: _Root = None,
    frames: Annotated[int, typer.Option(min=1, help="How many of the 2,000 rendered test images.")] = 2000,
    centers: _Centers = "refined",
    cube: Annotated[float | None, typer.Option(help="Side of all cubes, mm, instead of the data set's.")] = None,
    subject: _Subject = None,
    workers: _Workers = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    predictions: Annotated[
        list[Path] | None, typer.Option(help="Measure a file of predictions instead of a model; may repeat.")
    ] = None,
    ground_truth: Annotated[Path | None, typer.Option(help="The file of true joints for --predictions.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    report: Annotated[
        list[Path] | None, typer.Option("--report", help="Write OUT.html, OUT.json or OUT.csv; may repeat.")
    ] = None,
    plots: Annotated[Path | None, typer.Option(help="Write PNG plots into this folder.")] = None,
    write_predictions: Annotated[
        Path | None, typer.Option(help="Write the model's joints as text, u v d per joint, a line per frame.")
    ] = None,
) -> None:
    """Measure models on rendered test images or a data set, or files of predictions: mean joint error and more."""
    import json

    from handpose.evaluation.report import check_outputs

    check_outputs(report or (), plots)
    if predictions:
        if ground_truth is None or data is Data.synthetic:
            raise typer.BadParameter("--predictions needs --ground-truth FILE and --dataset icvl|nyu|msra")
        from handpose.evaluation.compare import compare_files

        result = compare_files(data.value, ground_truth, predictions)
    else:
        names = model or ["msra" if data is Data.synthetic else data.value]
        if write_predictions is not None and len(names) > 1:
            raise typer.BadParameter("--write-predictions takes one model at a time")
        if data is Data.synthetic:
            result = _evaluate_synthetic(names, frames, device)
        else:
            dataset = _dataset(data, root, "test", centers, subject, cube)
            result = _evaluate_dataset(names, dataset, workers, device, write_predictions)
    typer.echo(json.dumps(result.to_dict()) if as_json else result.table())
    for path in report or ():
        result.write(path)
    if plots is not None:
        result.plot(plots)


def _tell_of_the_first_time(made: str) -> None:
    from handpose.io.cache import cache_folder

    if not (cache_folder() / made).is_file():
        say("making the hand to render and its poses, this once: about two minutes")


def _dataset(
    data: Data, root: Path | None, split: Any, centers: str, subject: int | None, cube: float | None
) -> HandDataset:
    from handpose.datasets.catalog import open_dataset

    if root is None:
        raise typer.BadParameter(f"--data {data.value} needs --root, the data set's folder")
    name: Any = data.value
    dataset = open_dataset(name, root, split, centers=centers, subject=subject, cube=cube)
    for number, reason in sorted(dataset.damaged.items()):
        say(f"warning: {dataset.files[number]} is left out: {reason}")
    return dataset


def _evaluate_synthetic(names: list[str], frames: int, device: str) -> Report:
    from handpose.evaluation.on_synthetic import evaluate_synthetic
    from handpose.evaluation.report import Entry, Report
    from handpose.inference.estimator import HandPoseEstimator

    estimators = [HandPoseEstimator.from_pretrained(name, device=device) for name in names]
    layouts = {estimator.layout.name for estimator in estimators}
    if len(layouts) > 1:
        raise typer.BadParameter(f"models side by side must have the same joints, got {' and '.join(sorted(layouts))}")
    entries = []
    _tell_of_the_first_time("hand-test.npz")
    for estimator in estimators:
        result = evaluate_synthetic(estimator, frames)
        entries.append(Entry(f"{estimator.name}, hand found", result.found, "found by handpose"))
        entries.append(Entry(f"{estimator.name}, centre given", result.given, "the middle of the true joints"))
    return Report("rendered test images", estimators[0].layout, entries)


def _evaluate_dataset(names: list[str], dataset: HandDataset, workers: int, device: str, out: Path | None) -> Report:
    from handpose.evaluation.metrics import Evaluation
    from handpose.evaluation.on_real import predict_dataset
    from handpose.evaluation.report import Entry, Report
    from handpose.inference.estimator import HandPoseEstimator
    from handpose.results.uvd import write_predictions

    entries = []
    for name in names:
        estimator = HandPoseEstimator.from_pretrained(name, device=device)
        joints, problems = predict_dataset(estimator, dataset, workers)
        for number, reason in problems.items():
            say(f"warning: {dataset.files[number]} has no prediction: {reason}")
        entries.append(Entry(estimator.name, Evaluation.of(joints, dataset.xyz), dataset.centers))
        if out is not None:
            write_predictions(out, (dataset.camera.project(xyz) for xyz in joints))
    sides = sorted({round(float(side), 1) for side in dataset.cubes})
    notes = [*dataset.notes, f"cubes of {', '.join(map(str, sides))} mm"]
    return Report(f"{dataset.name} {dataset.split}", dataset.layout, entries, notes=notes)


@app.command()
def calibrate(
    folder: Annotated[Path, typer.Argument(help="The model folder whose config.json gets the calibration.")],
    frames: Annotated[int, typer.Option(min=50, help="How many rendered validation images.")] = 1000,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
) -> None:
    """Measure what a model's doubts mean in mm, for error estimates and the status low_confidence.

    Needs the extra `train` the first time, to make the hand.
    """
    from handpose.evaluation.calibrate import calibrate

    with _progress(frames) as on_frame:
        found = calibrate(folder, frames, device, on_frame=on_frame)
    say(f"{folder}: doubt = spread^{found.joint:g} x hand's spread^{found.hand:g} x bone's deviation^{found.bone:g}")
    say("expected error " + ", ".join(f"{error:.3g} mm" for error in found.errors_mm) + " from least doubt to most")
    say(f"low_confidence above {found.doubtful_mm:g} mm on average")


@app.command()
def ablate(
    folder: Annotated[Path | None, typer.Argument(help="Folder of the trainings; those begun are continued.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="Only list the variants and their parameters.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="List as JSON.")] = False,
    layout: Annotated[Layout, typer.Option(help="Joint layout.")] = Layout.nyu,
    only: Annotated[list[str] | None, typer.Option(help="A variant's name; may be given again.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Length of each training.")] = 2000,
    seed: Annotated[int, typer.Option(help="Of weights and data, the same for all.")] = 1,
    device: Annotated[str, typer.Option(help="cpu, cuda, ...")] = "cpu",
) -> None:
    """Train every variant of the paper's ablations alike, on rendered hands, and print the paper's tables with ours."""
    from handpose.training.ablations import VARIANTS, paper_tables, run_variant

    unknown = set(only or ()) - set(VARIANTS)
    if unknown:
        raise typer.BadParameter(f"no variant {', '.join(sorted(unknown))}; there are {', '.join(VARIANTS)}")
    chosen = [variant for name, variant in VARIANTS.items() if not only or name in only]
    if listed:
        _list_variants(chosen, layout, as_json)
        return
    if folder is None:
        raise typer.BadParameter("expected a folder for the trainings, or --list")

    from handpose.training.config import TrainingConfig
    from handpose.training.on_synthetic import train_synthetic

    config = TrainingConfig(steps, validate_every=min(500, steps), seed=seed)
    results = {}
    for variant in chosen:
        results[variant.name] = run_variant(
            variant,
            folder,
            layout.value,
            config,
            lambda run, model, config, report: train_synthetic(run, model, config, device, report),
        )
        say_row({"parameters": variant.parameters(layout.value)} | results[variant.name])
    typer.echo(paper_tables(layout.value, results))


def _list_variants(variants: list[Variant], layout: Layout, as_json: bool) -> None:
    import json

    rows = []
    for variant in variants:
        count, paper = variant.parameters(layout.value), variant.paper_parameters and f"{variant.paper_parameters}M"
        names = ("name", "parameters", "paper_parameters", "tables", "what")
        rows.append(dict(zip(names, (variant.name, count, paper, variant.tables, variant.what), strict=True)))
        if not as_json:
            tables = ", ".join(map(str, variant.tables))
            typer.echo(f"{variant.name:14}{count:>10,}  paper {paper or '-':6}table {tables:11} {variant.what}")
    if as_json:
        typer.echo(json.dumps(rows, indent=2))


@app.command()
def train_localizer(
    run: Annotated[Path, typer.Argument(help="Folder of the training; one that has a checkpoint is continued.")],
    steps: Annotated[int, typer.Option(min=1, help="Length of the whole training.")],
    seed: Annotated[int, typer.Option(help="Of weights and data.")] = 0,
) -> None:
    """Train the small network that finds hands, on rendered rooms. Needs the extra `train` the first time."""
    from handpose.training.localizer import train_localizer

    train_localizer(run, steps, say_row, seed=seed)


@contextlib.contextmanager
def _progress(steps: int) -> Iterator[Callable[[int], None]]:
    """What shows how many of the steps are done, where a person watches."""
    if not sys.stderr.isatty() or os.environ.get("RANK", "0") != "0":
        yield lambda step: None
        return
    with typer.progressbar(length=steps, file=sys.stderr) as bar:
        yield lambda step: bar.update(step - bar.pos)


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
