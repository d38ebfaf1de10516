"""`handpose evaluate`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from handpose.cli.console import activities, say, show
from handpose.cli.groups import Engine, LabeledData
from handpose.cli.options import Force, Json, given
from handpose.errors import HandPoseError

if TYPE_CHECKING:
    from handpose.evaluation.report import Report
    from handpose.inference.estimator import HandPoseEstimator


_PAPER_CUBES = {"nyu": 250.0, "icvl": 250.0, "msra": 175.0}


def evaluate(
    data: LabeledData,
    engine: Engine,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", "-m", metavar="MODEL", help="As in `handpose predict`; repeatable.", show_default="by data"
        ),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Number of synthetic images, at most 2,000.", show_default="2000"),
    ] = None,
    cube: Annotated[
        float | None, typer.Option(metavar="MM", help="Side of all cubes.", show_default="by model")
    ] = None,
    protocol: Annotated[
        Literal["paper"] | None,
        typer.Option(metavar="paper", help="The paper's: cubes of 250 mm (MSRA: 175), all subjects of MSRA."),
    ] = None,
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
    """Evaluate models, or files of predictions.

    Models are evaluated on synthetic images or on a data set. HTML reports and plots require the extra `plot`;
    synthetic images require the extra `train` on first use. Exit code: 0 success, 1 if no frame has a prediction, 2
    usage error.
    """
    import json

    from handpose.evaluation.report import check_outputs

    check_outputs(report or (), plots, force=force)
    if predictions:
        models_only = {
            "--model": model,
            "--root": data.root,
            "--subject": data.subject,
            "--centers": data.centers,
            "--test-share": data.test_share,
            "--frames": frames,
            "--cube": cube,
            "--protocol": protocol,
            "--write-predictions": write_predictions,
            "--workers": data.workers or None,
            **engine.changed(),
        }
        if names := given(models_only):
            raise HandPoseError(f"--predictions evaluates files, for which {names} has no meaning; omit it")
        result = _evaluate_files(predictions, ground_truth, data)
    else:
        if ground_truth is not None:
            raise HandPoseError("--ground-truth is for --predictions FILE; models are compared with the data set")
        if protocol == "paper":
            data, cube = _paper_protocol(data, cube)
        result = _evaluate_models(model, data, engine, frames, cube, write_predictions, force)
    show(json.dumps(result.to_dict()) if as_json else result.table())
    for path in report or ():
        result.write(path, force=force)
    if plots is not None:
        result.plot(plots, force=force)
    if failed := [entry.name for entry in result.entries if not entry.evaluation.predicted.any()]:
        say(f"error: {', '.join(failed)}: none of the {result.frames} frames has a prediction")
        raise typer.Exit(1)


def _evaluate_files(predictions: list[Path], ground_truth: Path | None, data: LabeledData) -> Report:
    """Evaluate files of predictions."""
    from handpose.evaluation.compare import compare_files

    if ground_truth is None or data.data == "synthetic":
        raise HandPoseError("--predictions requires --ground-truth FILE and --data icvl|nyu|msra")
    return compare_files(data.data, ground_truth, predictions)


def _paper_protocol(data: LabeledData, cube: float | None) -> tuple[LabeledData, float]:
    """Return the data and the cube of the paper's protocol."""
    if cube is not None or data.data not in _PAPER_CUBES:
        raise HandPoseError(
            "--protocol paper is for the data sets icvl, nyu and msra, and determines the cubes; omit --cube"
        )
    if data.data == "msra" and data.subject is None:
        data = dataclasses.replace(data, subject="all")
    return data, _PAPER_CUBES[data.data]


def _evaluate_models(
    names: list[str] | None,
    data: LabeledData,
    engine: Engine,
    frames: int | None,
    cube: float | None,
    predictions: Path | None,
    force: bool,
) -> Report:
    """Evaluate models on a data set or on synthetic images."""
    from handpose.evaluation.evaluate import evaluate, evaluate_parts

    if frames is not None and data.data != "synthetic":
        raise HandPoseError("--frames is for synthetic images; all test frames of a data set are evaluated; omit it")
    subjects = data.subjects()
    datasets = [dataset for one in subjects if (dataset := data.open("test", one, cube)) is not None]
    names = names or ["msra" if not datasets else datasets[0].layout.name]
    with activities():
        models = [_load_model(name, subjects, engine) for name in names]
        if datasets:
            return evaluate_parts(models, datasets, workers=data.workers, predictions=predictions, force=force)
        return evaluate([estimator for _, (estimator,) in models], frames=frames, predictions=predictions)


def _load_model(name: str, subjects: list[int | None], engine: Engine) -> tuple[str, list[HandPoseEstimator]]:
    """Return the name of a model, and its estimator for each subject: its own, or the same for all of them."""
    if len(subjects) > 1 and (Path(name) / "P0").is_dir():
        return Path(name).name, [engine.load(str(Path(name) / f"P{one}")) for one in subjects]
    estimator = engine.load(name)
    return estimator.name, [estimator] * len(subjects)
