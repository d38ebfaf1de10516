"""`handpose evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from handpose.cli.console import note_first_generation, warnings_as_lines
from handpose.cli.options import (
    Centers,
    Data,
    Device,
    Json,
    Precision,
    Root,
    Subject,
    TestShare,
    Views,
    Workers,
    open_data,
    subjects_of,
)

if TYPE_CHECKING:
    from handpose.datasets.dataset import HandDataset
    from handpose.inference.estimator import HandPoseEstimator


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
    protocol: Annotated[
        Literal["paper"] | None,
        typer.Option(help="paper: cubes of 250 mm for both of NYU's test subjects, and all subjects of MSRA."),
    ] = None,
    subject: Subject = None,
    test_share: TestShare = 0.0,
    workers: Workers = 0,
    device: Device = "auto",
    precision: Precision = "float32",
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
        from handpose.evaluation.evaluate import evaluate, evaluate_parts

        if protocol == "paper":
            if cube is not None or data == "synthetic":
                raise typer.BadParameter("--protocol paper is for data sets and determines the cubes; omit --cube")
            cube = 250.0 if data == "nyu" else None
            subject = "all" if data == "msra" and subject is None else subject
        subjects = subjects_of(data, subject)
        datasets: list[HandDataset] = []
        if data != "synthetic":
            datasets = [open_data(data, root, "test", centers, one, cube, test_share) for one in subjects]
        names = model or ["msra" if not datasets else datasets[0].layout.name]
        models = [_load_model(name, subjects, device, precision, views) for name in names]
        if not datasets:
            note_first_generation("hand-test.npz")
        with warnings_as_lines():
            if not datasets:
                estimators = [estimator for _, (estimator,) in models]
                result = evaluate(estimators, frames=frames, predictions=write_predictions)
            else:
                result = evaluate_parts(models, datasets, workers=workers, predictions=write_predictions)
    typer.echo(json.dumps(result.to_dict()) if as_json else result.table())
    for path in report or ():
        result.write(path)
    if plots is not None:
        result.plot(plots)


def _load_model(
    name: str, subjects: list[int | None], device: str, precision: Precision, views: int
) -> tuple[str, list[HandPoseEstimator]]:
    """Return the name of a model, and its estimator for each subject: its own, or the same for all of them."""
    from handpose.inference.estimator import HandPoseEstimator

    def load(name: str | Path) -> HandPoseEstimator:
        return HandPoseEstimator.from_pretrained(
            name,
            device=device,
            precision=precision,
            views=views,  # type: ignore[arg-type] # checked there
        )

    if len(subjects) > 1 and (Path(name) / "P0").is_dir():
        return Path(name).name, [load(Path(name) / f"P{one}") for one in subjects]
    estimator = load(name)
    return estimator.name, [estimator] * len(subjects)
