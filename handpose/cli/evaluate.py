"""`handpose evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from handpose.cli.console import say, tell_of_the_first_time
from handpose.cli.options import Centers, Data, Root, Subject, Workers, open_chosen

if TYPE_CHECKING:
    from handpose.datasets.dataset import HandDataset
    from handpose.evaluation.report import Report


def evaluate(
    model: Annotated[
        list[str] | None, typer.Option("--model", "-m", help="As in `handpose predict`; may repeat.")
    ] = None,
    data: Annotated[
        Data, typer.Option("--data", "--dataset", help="What to measure on; with --predictions, whose joints they are.")
    ] = Data.synthetic,
    root: Root = None,
    frames: Annotated[int, typer.Option(min=1, help="How many of the 2,000 rendered test images.")] = 2000,
    centers: Centers = "refined",
    cube: Annotated[float | None, typer.Option(help="Side of all cubes, mm, instead of the data set's.")] = None,
    subject: Subject = None,
    workers: Workers = 0,
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
            dataset = open_chosen(data, root, "test", centers, subject, cube)
            result = _evaluate_dataset(names, dataset, workers, device, write_predictions)
    typer.echo(json.dumps(result.to_dict()) if as_json else result.table())
    for path in report or ():
        result.write(path)
    if plots is not None:
        result.plot(plots)


def _evaluate_synthetic(names: list[str], frames: int, device: str) -> Report:
    from handpose.evaluation.on_synthetic import evaluate_synthetic
    from handpose.evaluation.report import Entry, Report
    from handpose.inference.estimator import HandPoseEstimator

    estimators = [HandPoseEstimator.from_pretrained(name, device=device) for name in names]
    layouts = {estimator.layout.name for estimator in estimators}
    if len(layouts) > 1:
        raise typer.BadParameter(f"models side by side must have the same joints, got {' and '.join(sorted(layouts))}")
    entries = []
    tell_of_the_first_time("hand-test.npz")
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
