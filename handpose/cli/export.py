"""`handpose export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from handpose.cli.console import say
from handpose.cli.options import Model

_SUFFIXES = {"onnx": ".onnx", "openvino": ".xml"}


def export(
    out: Annotated[Path, typer.Argument(help="File to write: OUT.onnx, or OUT.xml along with OUT.bin.")],
    model: Model = "msra",
    format: Annotated[
        Literal["onnx", "openvino"] | None, typer.Option(help="File format (default: determined by the extension).")
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Quantize to 8 bits: faster and slightly less accurate.")
    ] = False,
) -> None:
    """Export the network for ONNX Runtime or OpenVINO, and check that it predicts the same joints."""
    suffixes = [_SUFFIXES[format]] if format else [*_SUFFIXES.values()]
    if out.suffix not in suffixes:
        raise typer.BadParameter(f"expected {' or '.join(f'OUT{suffix}' for suffix in suffixes)}, got {out}")

    from handpose.runtimes.export import export
    from handpose.weights.resolve import find_weights

    exported = export(find_weights(model), out, int8=int8)
    if exported.int8_error_mm is None:
        say(f"{out}: joints within {exported.largest_mm:.4f} mm of PyTorch; use it with handpose predict -m {out}")
    else:
        before, after = exported.int8_error_mm
        say(f"{out}: mean joint error on synthetic crops {after:.2f} mm, {after - before:+.2f} mm due to quantization")
