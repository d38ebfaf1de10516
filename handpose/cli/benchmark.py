"""`handpose benchmark`."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from handpose.cli.options import Model, parse_unit

if TYPE_CHECKING:
    from handpose.runtimes.base import BackendName


class BackendChoice(str, enum.Enum):
    """What runs the network."""

    torch = "torch"
    onnxruntime = "onnxruntime"
    openvino = "openvino"


def benchmark(
    image: Annotated[Path, typer.Argument(help="A depth file with a hand.")],
    camera: Annotated[str, typer.Option("--camera", "-c", help="As in `handpose predict`.")],
    unit: Annotated[str, typer.Option(help="As in `handpose predict`.")] = "mm",
    model: Model = "msra",
    backend: Annotated[
        list[BackendChoice] | None, typer.Option(help="What runs the network; may repeat. All that are installed.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    batch_size: Annotated[list[int] | None, typer.Option(min=1, help="May repeat. 1, 16 and 64.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Calls per stage.")] = 200,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Measure how long each stage takes here, and how much memory each backend needs."""
    import dataclasses
    import json

    from handpose.evaluation.speed import machine, measure, peak_memory_mb
    from handpose.geometry.camera import Camera
    from handpose.runtimes.select import GRAPH_SUFFIXES, installed_backends

    names: list[BackendName] = ["auto"] if Path(model).suffix in GRAPH_SUFFIXES else installed_backends()
    if backend:
        names = [choice.value for choice in backend]
    sizes = batch_size or [1, 16, 64]
    report: dict[str, Any]
    if len(names) == 1:
        timings = measure(
            image,
            model=model,
            backend=names[0],
            device=device,
            camera=Camera.parse(camera),
            unit=parse_unit(unit),
            batch_sizes=sizes,
            repeats=repeats,
        )
        rows = [dataclasses.asdict(timing) for timing in timings]
        report = {"machine": machine(), "peak_memory_mb": {names[0]: peak_memory_mb()}, "timings": rows}
    else:
        # A process each: runtimes' idle threads would take the others' time, and memory cannot be told apart.
        report = {"peak_memory_mb": {}, "timings": []}
        for name in names:
            sizes_again = [word for size in sizes for word in ("--batch-size", str(size))]
            own = _own_process([
                str(image), "--camera", camera, "--unit", unit, "--model", model, "--backend", name,
                "--device", device, "--repeats", str(repeats), *sizes_again,
            ])  # fmt: skip
            report["machine"] = own["machine"]
            report["peak_memory_mb"] |= own["peak_memory_mb"]
            report["timings"] += own["timings"]
    typer.echo(json.dumps(report, indent=2) if as_json else _table(report))


def _own_process(arguments: list[str]) -> dict[str, Any]:
    """What `handpose benchmark --json` prints with these arguments."""
    import json
    import subprocess
    import sys

    command = [sys.executable, "-m", "handpose", "benchmark", *arguments, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise typer.Exit(done.returncode)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def _table(report: dict[str, Any]) -> str:
    """The report as a Markdown table, with the machine above it."""
    lines = [", ".join(f"{name} {value}" for name, value in report["machine"].items()), ""]
    lines += ["| backend | stage | batch | p50 ms | p95 ms | images/s |", "|---|---|---|---|---|---|"]
    for row in report["timings"]:
        lines.append(
            f"| {row['backend']} | {row['stage']} | {row['batch']} | {row['p50_ms']:.2f} | {row['p95_ms']:.2f} "
            f"| {row['per_second']:.0f} |"
        )
    peaks = [f"{name} {value:.0f} MB" for name, value in report["peak_memory_mb"].items() if value is not None]
    return "\n".join([*lines, *(["", f"peak memory: {', '.join(peaks)}"] if peaks else [])])
