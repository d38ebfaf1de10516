"""`handpose predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, get_args

import typer

from handpose.cli.console import warnings_as_lines
from handpose.cli.options import (
    Camera,
    Device,
    Model,
    Precision,
    Topic,
    Unit,
    Views,
    parse_camera,
    parse_numbers,
    parse_unit,
)
from handpose.cli.predict_cluster import run_on_cluster
from handpose.cli.predict_local import run_local
from handpose.io.choices import Format, HandOrAuto
from handpose.jobs.job import PredictJob, PredictOptions


def predict(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help="Depth files, folders of them, recordings, or globs; with --engine ray also URLs, .tar and .parquet "
            "files.",
        ),
    ],
    model: Model = "msra",
    camera: Camera = None,
    unit: Unit = "mm",
    topic: Topic = None,
    hand: Annotated[
        HandOrAuto,
        typer.Option(help="Which hand the image shows; auto predicts it, which doubles the network's run time."),
    ] = "right",
    max_hands: Annotated[
        int, typer.Option(min=1, help="Maximum number of hands per image; each hand has a record.")
    ] = 1,
    center: Annotated[
        str | None,
        typer.Option(
            metavar="X,Y,Z|FILE", help="Hand center in mm in the camera frame (y down), or a file with one per image."
        ),
    ] = None,
    y_up: Annotated[bool, typer.Option("--y-up", help="The y axis of the --center file points up.")] = False,
    box: Annotated[str | None, typer.Option(metavar="X,Y,W,H", help="Box around the hand in px.")] = None,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", help="Output file (default: stdout); with --engine ray, a folder or URL."),
    ] = None,
    format: Annotated[
        Format | None,
        typer.Option(help="Output format (default: by the extension of -o, or jsonl); --engine ray writes Parquet."),
    ] = None,
    draw: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for pictures of the results.")] = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="DIR|FILE.html", help="Write web pages that show each hand in 3D."),
    ] = None,
    device: Device = "auto",
    backend: Annotated[str, typer.Option(help="Inference backend: auto, torch, onnxruntime, openvino.")] = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Batch size of the network.")] = 16,
    precision: Precision = "float32",
    views: Views = 1,
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing results.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Resume the interrupted job that wrote --output.")] = False,
    engine: Annotated[
        Literal["local", "ray"], typer.Option(help="Run in this process or on a Ray cluster (extra `ray`).")
    ] = "local",
    address: Annotated[
        str | None, typer.Option(help="Address of the Ray cluster (default: start one on this machine).")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Maximum number of model replicas (default: as many as fit).")
    ] = None,
) -> None:
    """Predict the hand joints in depth images, in millimeters.

    Exit code: 0 success, 1 some inputs failed, 2 usage error or no input could be processed, 130 Ctrl-C, 141 broken
    pipe, 143 SIGTERM.
    """
    from handpose.inference.query import Query

    if center is not None and box is not None:
        raise typer.BadParameter("pass --center or --box, not both")
    if max_hands > 1 and (center is not None or box is not None):
        raise typer.BadParameter("--center and --box locate a single hand; omit them or --max-hands")
    if force and resume:
        raise typer.BadParameter("pass --force to start over or --resume to continue, not both")
    on_cluster = engine == "ray"
    centers = None if center is None or on_cluster or not Path(center).is_file() else Path(center)
    query = Query(
        camera=parse_camera(camera),
        center=None if center is None or centers else _center(center, on_cluster),
        box=None if box is None else _box(box),
        hand=hand,
        unit=parse_unit(unit),
    )
    options = PredictOptions(
        model,
        query,
        device,
        backend,  # type: ignore[arg-type] # checked on use
        batch_size,
        views,  # type: ignore[arg-type] # checked on use
        max_hands,
        precision,
    )
    job = PredictJob(inputs, output, options, centers=centers, y_up=y_up, force=force, resume=resume, topic=topic)
    with warnings_as_lines():
        if on_cluster:
            if format or draw or html:
                raise typer.BadParameter(
                    "--engine ray writes Parquet to -o; --format, --draw and --html are not supported"
                )
            run_on_cluster(job, address, workers)
        else:
            if address or workers:
                raise typer.BadParameter("--address and --workers require --engine ray")
            run_local(job, format or _format_of(output), draw, html)


def _format_of(output: str | None) -> Format:
    """Return the format that the extension of the output determines."""
    suffix = Path(output or "").suffix.lower()
    formats: tuple[Format, ...] = get_args(Format)
    return next((known for known in formats if suffix == f".{known}"), "jsonl")


def _center(text: str, on_cluster: bool) -> tuple[float, ...]:
    return parse_numbers(text, 3, f"--center X,Y,Z {'with --engine ray' if on_cluster else 'or a file'}")


def _box(text: str) -> tuple[float, float, float, float]:
    x, y, width, height = parse_numbers(text, 4, "--box X,Y,W,H")
    return x, y, width, height
