"""`handpose benchmark`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from handpose.cli.console import activities, show
from handpose.cli.options import Device, Json, Model, RequiredCamera, Unit, Views, parse_unit


def benchmark(
    image: Annotated[Path, typer.Argument(metavar="FILE", help="Depth file with a hand.")],
    camera: RequiredCamera,
    unit: Unit = "mm",
    model: Model = "msra",
    backend: Annotated[
        list[str] | None,
        typer.Option(
            metavar="BACKEND", help="torch, onnxruntime or openvino; repeatable.", show_default="all installed"
        ),
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(metavar="PRECISION", help="float32 or int8; repeatable.", show_default="float32"),
    ] = None,
    views: Views = 1,
    device: Device = "auto",
    batch_size: Annotated[
        list[int] | None, typer.Option(metavar="N", min=1, help="Batch size; repeatable.", show_default="1, 16, 64")
    ] = None,
    repeats: Annotated[int, typer.Option(metavar="N", min=1, help="Calls per stage.")] = 200,
    as_json: Json = False,
) -> None:
    """Measure the speed of each stage and backend.

    Assumes a right hand. Also measures the peak memory of each backend.
    """
    import json

    from handpose.evaluation.speed import benchmark
    from handpose.geometry.camera import Camera

    with activities():
        report = benchmark(
            image,
            camera=Camera.parse(camera),
            unit=parse_unit(unit),
            model=model,
            backends=backend or (),  # type: ignore[arg-type] # load_runtime checks them
            precisions=precision or ("float32",),  # type: ignore[arg-type] # load_runtime checks them
            views=views,  # type: ignore[arg-type] # the estimator checks it
            device=device,
            batch_sizes=batch_size or (1, 16, 64),
            repeats=repeats,
        )
    show(json.dumps(report, indent=2) if as_json else _table(report))


def _table(report: dict[str, Any]) -> str:
    """Return the report as a Markdown table, with the machine above it."""
    lines = [", ".join(f"{name} {value}" for name, value in report["machine"].items()), ""]
    lines += ["| backend | precision | stage | batch | p50 ms | p95 ms | images/s |", "|---|---|---|---|---|---|---|"]
    for row in report["timings"]:
        lines.append(
            f"| {row['backend']} | {row['precision']} | {row['stage']} | {row['batch']} | {row['p50_ms']:.2f} "
            f"| {row['p95_ms']:.2f} | {row['per_second']:.0f} |"
        )
    peaks = [f"{name} {value:.0f} MB" for name, value in report["peak_memory_mb"].items() if value is not None]
    return "\n".join([*lines, *(["", f"peak memory: {', '.join(peaks)}"] if peaks else [])])
