"""The command line for users: from depth files to joints."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from handpose.cli.console import warnings_as_lines
from handpose.cli.options import HandOrAuto, parse_numbers, parse_unit
from handpose.cli.predict_cluster import run_on_cluster
from handpose.cli.predict_local import run_local
from handpose.jobs.job import PredictJob, PredictOptions


class Engine(str, enum.Enum):
    """What does the work."""

    local = "local"
    ray = "ray"


class Format(str, enum.Enum):
    """How results are written."""

    jsonl = "jsonl"
    json = "json"
    csv = "csv"
    npz = "npz"
    uvd = "uvd"


def predict(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help="Depth files, folders of them, or globs; with --engine ray also URLs, .tar and .parquet files.",
        ),
    ],
    model: Annotated[
        str,
        typer.Option("--model", "-m", help="A name from `handpose models`, a model folder, or owner/repo on the Hub."),
    ] = "msra",
    camera: Annotated[
        str | None,
        typer.Option(
            "--camera", "-c", help="icvl, nyu, msra, fx,fy,cx,cy[,width,height], or a .json or ROS .yaml file."
        ),
    ] = None,
    unit: Annotated[
        str, typer.Option(help="What the stored numbers mean: mm, m, millimetres per unit, or nyu (two-byte PNG).")
    ] = "mm",
    hand: Annotated[
        HandOrAuto, typer.Option(help="Which hand it is; auto tells, in twice the network's time.")
    ] = HandOrAuto.right,
    center: Annotated[
        str | None,
        typer.Option(
            metavar="X,Y,Z|FILE", help="Hand centre in mm, camera frame (y down), or a file with one per image."
        ),
    ] = None,
    y_up: Annotated[bool, typer.Option("--y-up", help="The y axis of the --center file points up.")] = False,
    box: Annotated[str | None, typer.Option(metavar="X,Y,W,H", help="Box around the hand in px.")] = None,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", help="Where results go instead of stdout; with --engine ray a folder or URL."),
    ] = None,
    format: Annotated[
        Format | None,
        typer.Option(help="How results are written, else by the ending of -o, else jsonl; Parquet with --engine ray."),
    ] = None,
    draw: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for pictures of the results.")] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="DIR|FILE.html", help="Pages that show each hand in 3D, without other files.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    backend: Annotated[str, typer.Option(help="What runs the network: auto, torch, onnxruntime, openvino.")] = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Images per pass through the network.")] = 16,
    force: Annotated[bool, typer.Option("--force", help="Overwrite results that are there.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the results that an interrupted run wrote to --output.")
    ] = False,
    engine: Annotated[Engine, typer.Option(help="This process, or a Ray cluster (extra `ray`).")] = Engine.local,
    address: Annotated[
        str | None, typer.Option(help="Of the Ray cluster; without it, this machine becomes one for the job.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="The most networks at work on the cluster; else all it has room for.")
    ] = None,
) -> None:
    """Find the hand in each depth image and write its joints in millimetres.

    Exit code: 0 all fine, 1 some inputs failed, 2 wrong usage or nothing could be done, 130 Ctrl-C, 141 the reader of
    the output went away, 143 SIGTERM.
    """
    from handpose.geometry.camera import Camera
    from handpose.inference.query import Query

    if center is not None and box is not None:
        raise typer.BadParameter("give --center or --box, not both")
    if force and resume:
        raise typer.BadParameter("give --force to start again or --resume to go on, not both")
    on_cluster = engine == Engine.ray
    centers = None if center is None or on_cluster or not Path(center).is_file() else Path(center)
    query = Query(
        camera=None if camera is None else Camera.parse(camera),
        center=None if center is None or centers else _center(center, on_cluster),
        box=None if box is None else _box(box),
        hand=hand.value,
        unit=parse_unit(unit),
    )
    options = PredictOptions(model, query, device, backend, batch_size)  # type: ignore[arg-type] # load_runtime checks it
    job = PredictJob(inputs, output, options, centers=centers, y_up=y_up, force=force, resume=resume)
    with warnings_as_lines():
        if on_cluster:
            if format or draw or html:
                raise typer.BadParameter("--engine ray writes Parquet into -o; there is no --format, --draw or --html")
            run_on_cluster(job, address, workers)
        else:
            if address or workers:
                raise typer.BadParameter("--address and --workers are for --engine ray")
            run_local(job, (format or _format_of(output)).value, draw, html)


def _format_of(output: str | None) -> Format:
    ending = Path(output or "").suffix.lower().removeprefix(".")
    return Format(ending) if ending in {known.value for known in Format} else Format.jsonl


def _center(text: str, on_cluster: bool) -> tuple[float, ...]:
    return parse_numbers(text, 3, f"--center X,Y,Z {'with --engine ray' if on_cluster else 'or a file'}")


def _box(text: str) -> tuple[float, float, float, float]:
    x, y, width, height = parse_numbers(text, 4, "--box X,Y,W,H")
    return x, y, width, height
