"""`handpose export`."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from handpose.cli.console import say
from handpose.cli.options import Model


class GraphFormat(str, enum.Enum):
    """What exported files are for."""

    onnx = "onnx"
    openvino = "openvino"


def export(
    out: Annotated[Path, typer.Argument(help="The file to write: OUT.onnx, or OUT.xml with OUT.bin beside it.")],
    model: Model = "msra",
    format: Annotated[
        GraphFormat | None, typer.Option(help="What the file is for, if its ending is not to say so.")
    ] = None,
    int8: Annotated[bool, typer.Option("--int8", help="Round to 8 bits: faster, a little less accurate.")] = False,
) -> None:
    """Write the network as one file for ONNX Runtime or OpenVINO, and check that it finds the same joints."""
    wanted = {"onnx": ".onnx", "openvino": ".xml"}
    suffixes = [wanted[format.value]] if format else [*wanted.values()]
    if out.suffix not in suffixes:
        raise typer.BadParameter(f"expected {' or '.join(f'OUT{suffix}' for suffix in suffixes)}, got {out}")

    from handpose.runtimes.export import export
    from handpose.weights.resolve import find_weights

    exported = export(find_weights(model), out, int8=int8)
    if exported.int8_error_mm is None:
        say(f"{out}: joints within {exported.largest_mm:.4f} mm of PyTorch's; use it with handpose predict -m {out}")
    else:
        before, after = exported.int8_error_mm
        say(f"{out}: mean joint error on rendered crops {after:.2f} mm, {after - before:+.2f} mm by rounding to 8 bits")
