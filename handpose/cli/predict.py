"""`handpose predict`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal, get_args

import typer

from handpose.cli.options import (
    Backend,
    BatchSize,
    Camera,
    Device,
    Extrinsics,
    Force,
    Joints,
    Json,
    Meters,
    Model,
    Precision,
    Topic,
    Unit,
    Views,
    parse_camera,
    parse_keypoints,
    parse_numbers,
    parse_unit,
)
from handpose.cli.predict_cluster import run_on_cluster
from handpose.cli.predict_local import run_local
from handpose.errors import HandPoseError
from handpose.io.choices import Format, HandOrAuto
from handpose.io.extras import require_extra
from handpose.io.inputs import expand_lists
from handpose.jobs.job import PredictJob, PredictOptions


def predict(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT", help="Files, folders, globs, recordings; @FILE or - for a list."),
    ],
    model: Model = "msra",
    camera: Camera = None,
    unit: Unit = "mm",
    topic: Topic = None,
    hand: Annotated[
        HandOrAuto,
        typer.Option(help="Which hand the image shows; auto is slower."),
    ] = "right",
    max_hands: Annotated[int, typer.Option(metavar="N", min=1, help="Maximum number of hands per image.")] = 1,
    center: Annotated[
        str | None,
        typer.Option(metavar="X,Y,Z|FILE", help="Hand center in mm (y down), or a file with one per image."),
    ] = None,
    y_up: Annotated[bool, typer.Option("--y-up", help="The y axis of the --center file points up.")] = False,
    box: Annotated[str | None, typer.Option(metavar="X,Y,W,H", help="Box around the hand in px.")] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Results; with ray, a folder or URL.", show_default="stdout"
        ),
    ] = None,
    format: Annotated[
        Format | None,
        typer.Option(metavar="FORMAT", help="jsonl, json, csv, npz, uvd, parquet or mcap.", show_default="by FILE"),
    ] = None,
    as_json: Json = False,
    joints: Joints = None,
    meters: Meters = False,
    extrinsics: Extrinsics = None,
    draw: Annotated[Path | None, typer.Option(metavar="FOLDER|FILE.png", help="Write pictures of the results.")] = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER|FILE.html", help="Write web pages that show hands in 3D."),
    ] = None,
    device: Device = "auto",
    backend: Backend = "auto",
    batch_size: BatchSize = 16,
    precision: Precision = "float32",
    views: Views = 1,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Include the subfolders of folders.")] = False,
    force: Force = False,
    resume: Annotated[bool, typer.Option("--resume", help="Resume the interrupted job that wrote FILE.")] = False,
    engine: Annotated[Literal["local", "ray"], typer.Option(help="Run on this machine or a Ray cluster.")] = "local",
    address: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Address of the Ray cluster.", show_default="this machine")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Maximum number of replicas.", show_default="as many as fit"),
    ] = None,
) -> None:
    """Predict the hand joints in depth images, in millimeters.

    Prints a line per image on a terminal, and JSON lines otherwise. Parquet files require the extra `table`.
    --engine ray requires the extra `ray`; it also reads URLs, .tar files and .parquet files.

    Exit code: 0 success, 1 some inputs failed, 2 usage error or no input could be processed, 130 Ctrl-C, 141 broken
    pipe, 143 SIGTERM.
    """
    from handpose.inference.query import Query

    if center is not None and box is not None:
        raise HandPoseError("pass --center or --box, not both")
    if max_hands > 1 and (center is not None or box is not None):
        raise HandPoseError("--center and --box locate a single hand; omit them or --max-hands")
    if force and resume:
        raise HandPoseError("pass --force to start over or --resume to continue, not both")
    if as_json and (output is not None or format not in (None, "jsonl")):
        raise HandPoseError("--json prints JSON lines; pass it without -o and --format")
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
    job = PredictJob(
        list(expand_lists(inputs, sys.stdin.buffer)),
        output,
        options,
        centers=centers,
        y_up=y_up,
        force=force,
        resume=resume,
        topic=topic,
        recursive=recursive,
        keypoints=parse_keypoints(joints, meters, extrinsics),
    )
    if on_cluster:
        if format or draw or html or as_json or job.keypoints:
            raise HandPoseError(
                "--engine ray writes Parquet to -o, without --format, --json, --draw, --html, --joints, --meters "
                "and --extrinsics"
            )
        require_extra("ray", "--engine ray")
        run_on_cluster(job, address, workers)
    else:
        if address or workers:
            raise HandPoseError("--address and --workers require --engine ray")
        format = format or _format_of(output, as_json or job.keypoints is not None)
        if job.keypoints and format not in ("jsonl", "json"):
            raise HandPoseError(f"--joints, --meters and --extrinsics require jsonl or json, got {format}")
        run_local(job, format, draw, html)


def _format_of(output: str | None, as_json: bool) -> Format | None:
    """Return the format that the extension of the output determines, or None for lines on a terminal."""
    if output is None:
        return "jsonl" if as_json or not sys.stdout.isatty() else None
    formats: tuple[Format, ...] = get_args(Format)
    suffix = Path(output).suffix.lower()
    for known in formats:
        if suffix == f".{known}":
            return known
    raise HandPoseError(f"{output}: the extension must be one of .{', .'.join(formats)}; or pass --format")


def _center(text: str, on_cluster: bool) -> tuple[float, ...]:
    return parse_numbers(text, 3, f"--center X,Y,Z {'with --engine ray' if on_cluster else 'or a file'}")


def _box(text: str) -> tuple[float, float, float, float]:
    x, y, width, height = parse_numbers(text, 4, "--box X,Y,W,H")
    return x, y, width, height
