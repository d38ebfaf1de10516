"""`handpose export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from handpose.cli.console import activities, note
from handpose.cli.options import Force, Model, one_output
from handpose.errors import HandPoseError
from handpose.io.extras import Extra, require_extra

_SUFFIXES = {"onnx": ".onnx", "openvino": ".xml"}
_EXTRAS: dict[str, Extra] = {".onnx": "onnx", ".xml": "openvino"}


def export(
    positional: Annotated[Path | None, typer.Argument(metavar="FILE", hidden=True)] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="FILE.onnx, or FILE.xml along with FILE.bin."),
    ] = None,
    model: Model = "msra",
    format: Annotated[
        Literal["onnx", "openvino"] | None, typer.Option(help="File format.", show_default="by the extension of FILE")
    ] = None,
    int8: Annotated[bool, typer.Option("--int8", help="Quantize to 8 bits: faster, slightly less accurate.")] = False,
    force: Force = False,
) -> None:
    """Export the network for ONNX Runtime or OpenVINO.

    Checks that the exported network predicts the same joints.

    Requires the extra `onnx` or `openvino`; --int8 requires `onnx`.
    """
    out = one_output(output, positional, "-o FILE.onnx or -o FILE.xml")
    suffixes = [_SUFFIXES[format]] if format else [*_SUFFIXES.values()]
    if out.suffix not in suffixes:
        raise HandPoseError(f"expected {' or '.join(f'-o FILE{suffix}' for suffix in suffixes)}, got {out}")
    for extra in {"onnx" if int8 else _EXTRAS[out.suffix], _EXTRAS[out.suffix]}:
        require_extra(extra, "handpose export")

    from handpose.runtimes.export import export
    from handpose.weights.resolve import find_weights

    with activities():
        exported = export(find_weights(model), out, int8=int8, force=force)
    if exported.int8_error_mm is None:
        note(f"{out}: joints within {exported.largest_mm:.4f} mm of PyTorch; use it with handpose predict -m {out}")
    else:
        before, after = exported.int8_error_mm
        note(f"{out}: mean joint error on synthetic crops {after:.2f} mm, {after - before:+.2f} mm due to quantization")
