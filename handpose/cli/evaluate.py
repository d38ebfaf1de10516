"""`handpose evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from handpose.cli.console import activities, show
from handpose.cli.options import (
    Backend,
    Centers,
    Data,
    Device,
    Force,
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
from handpose.errors import HandPoseError

if TYPE_CHECKING:
    from handpose.datasets.dataset import HandDataset
    from handpose.inference.estimator import HandPoseEstimator


def evaluate(
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            help="As in `handpose predict`; repeatable.",
            show_default="by data",
        ),
    ] = None,
    data: Annotated[
        Data,
        typer.Option(
            metavar="DATA",
            help="synthetic, icvl, nyu, msra or records.",
        ),
    ] = "synthetic",
    root: Root = None,
    frames: Annotated[int, typer.Option(metavar="N", min=1, help="Number of synthetic images, at most 2,000.")] = 2000,
    centers: Centers = "refined",
    cube: Annotated[float | None, typer.Option(metavar="MM", help="Side of all cubes.", show_default="by data")] = None,
    protocol: Annotated[
        Literal["paper"] | None,
        typer.Option(metavar="paper", help="The paper's: cubes of 250 mm for NYU, all subjects of MSRA."),
    ] = None,
    subject: Subject = None,
    test_share: TestShare = 0.0,
    workers: Workers = 0,
    device: Device = "auto",
    backend: Backend = "auto",
    precision: Precision = "float32",
    views: Views = 1,
    predictions: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Evaluate a prediction file, not a model; repeatable.")
    ] = None,
    ground_truth: Annotated[Path | None, typer.Option(metavar="FILE", help="True joints for --predictions.")] = None,
    as_json: Json = False,
    report: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Write a .html, .json or .csv report; repeatable.")
    ] = None,
    plots: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Write PNG plots.")] = None,
    write_predictions: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the predicted joints as text, one frame per line."),
    ] = None,
    force: Force = False,
) -> None:
    """Evaluate models on synthetic images or a data set, or evaluate predictions.

    HTML reports and plots require the extra `plot`; synthetic images require the extra `train` on first use.
    """
    import json

    from handpose.evaluation.report import check_outputs

    check_outputs(report or (), plots, force=force)
    if predictions:
        if ground_truth is None or data == "synthetic":
            raise HandPoseError("--predictions requires --ground-truth FILE and --data icvl|nyu|msra")
        from handpose.evaluation.compare import compare_files

        result = compare_files(data, ground_truth, predictions)
    else:
        from handpose.evaluation.evaluate import evaluate, evaluate_parts

        if protocol == "paper":
            if cube is not None or data == "synthetic":
                raise HandPoseError("--protocol paper is for data sets and determines the cubes; omit --cube")
            cube = 250.0 if data == "nyu" else None
            subject = "all" if data == "msra" and subject is None else subject
        subjects = subjects_of(data, subject)
        datasets: list[HandDataset] = []
        if data != "synthetic":
            datasets = [open_data(data, root, "test", centers, one, cube, test_share) for one in subjects]
        names = model or ["msra" if not datasets else datasets[0].layout.name]
        options = {"device": device, "backend": backend, "precision": precision, "views": views}
        with activities():
            models = [_load_model(name, subjects, options) for name in names]
            if not datasets:
                estimators = [estimator for _, (estimator,) in models]
                result = evaluate(estimators, frames=frames, predictions=write_predictions)
            else:
                result = evaluate_parts(models, datasets, workers=workers, predictions=write_predictions, force=force)
    show(json.dumps(result.to_dict()) if as_json else result.table())
    for path in report or ():
        result.write(path, force=force)
    if plots is not None:
        result.plot(plots, force=force)


def _load_model(name: str, subjects: list[int | None], options: dict[str, Any]) -> tuple[str, list[HandPoseEstimator]]:
    """Return the name of a model, and its estimator for each subject: its own, or the same for all of them."""
    from handpose.inference.estimator import HandPoseEstimator

    if len(subjects) > 1 and (Path(name) / "P0").is_dir():
        folders = [Path(name) / f"P{one}" for one in subjects]
        return Path(name).name, [HandPoseEstimator.from_pretrained(folder, **options) for folder in folders]
    estimator = HandPoseEstimator.from_pretrained(name, **options)
    return estimator.name, [estimator] * len(subjects)
