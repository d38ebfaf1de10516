"""`handpose evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from handpose.cli.console import note_first_generation, warnings_as_lines
from handpose.cli.options import Centers, Data, Device, Json, Root, Subject, Views, Workers, open_data


def evaluate(
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="Model, as in `handpose predict` (default: the one for the data set's joints); repeatable.",
        ),
    ] = None,
    data: Annotated[
        Data,
        typer.Option(
            "--data",
            "--dataset",
            help="Data to evaluate on; with --predictions, the data set of the prediction files.",
        ),
    ] = "synthetic",
    root: Root = None,
    frames: Annotated[int, typer.Option(min=1, help="Number of synthetic test images, at most 2,000.")] = 2000,
    centers: Centers = "refined",
    cube: Annotated[float | None, typer.Option(help="Side of all cubes in mm (default: that of the data set).")] = None,
    subject: Subject = None,
    workers: Workers = 0,
    device: Device = "auto",
    views: Views = 1,
    predictions: Annotated[
        list[Path] | None, typer.Option(help="Evaluate a prediction file instead of a model; repeatable.")
    ] = None,
    ground_truth: Annotated[Path | None, typer.Option(help="File of the true joints for --predictions.")] = None,
    as_json: Json = False,
    report: Annotated[
        list[Path] | None, typer.Option(help="Write a report to a .html, .json or .csv file; repeatable.")
    ] = None,
    plots: Annotated[Path | None, typer.Option(help="Write PNG plots to this folder.")] = None,
    write_predictions: Annotated[
        Path | None,
        typer.Option(help="Write the predicted joints to a text file, u v d per joint, one frame per line."),
    ] = None,
) -> None:
    """Evaluate models on synthetic test images or a data set, or evaluate prediction files."""
    import json

    from handpose.evaluation.report import check_outputs

    check_outputs(report or (), plots)
    if predictions:
        if ground_truth is None or data == "synthetic":
            raise typer.BadParameter("--predictions requires --ground-truth FILE and --dataset icvl|nyu|msra")
        from handpose.evaluation.compare import compare_files

        result = compare_files(data, ground_truth, predictions)
    else:
        from handpose.evaluation.evaluate import evaluate
        from handpose.inference.estimator import HandPoseEstimator

        dataset = None if data == "synthetic" else open_data(data, root, "test", centers, subject, cube)
        names = model or ["msra" if data == "synthetic" else data]
        estimators = [
            HandPoseEstimator.from_pretrained(name, device=device, views=views)  # type: ignore[arg-type] # checked there
            for name in names
        ]
        if dataset is None:
            note_first_generation("hand-test.npz")
        with warnings_as_lines():
            result = evaluate(estimators, dataset, frames=frames, workers=workers, predictions=write_predictions)
    typer.echo(json.dumps(result.to_dict()) if as_json else result.table())
    for path in report or ():
        result.write(path)
    if plots is not None:
        result.plot(plots)
