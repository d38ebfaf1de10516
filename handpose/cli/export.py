"""`handpose export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from handpose.cli.console import activities, note
from handpose.cli.options import Force, Model
from handpose.errors import HandPoseError
from handpose.io.extras import Extra, require_extra

_SUFFIXES = {"onnx": ".onnx", "openvino": ".xml"}
_EXTRAS: dict[str, Extra] = {".onnx": "onnx", ".xml": "openvino"}


def export(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="FILE.onnx, or FILE.xml along with FILE.bin.")
    ],
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
    suffixes = [_SUFFIXES[format]] if format else [*_SUFFIXES.values()]
    if output.suffix not in suffixes:
        raise HandPoseError(f"expected {' or '.join(f'-o FILE{suffix}' for suffix in suffixes)}, got {output}")
    for extra in {"onnx" if int8 else _EXTRAS[output.suffix], _EXTRAS[output.suffix]}:
        require_extra(extra, "handpose export")

    from handpose.runtimes.export import export
    from handpose.weights.resolve import find_weights

    with activities():
        exported = export(find_weights(model), output, int8=int8, force=force)
    if exported.int8_error_mm is None:
        accuracy = f"joints within {exported.largest_mm:.4f} mm of PyTorch"
        note(f"{output}: {accuracy}; use it with handpose predict -m {output}")
    else:
        before, after = exported.int8_error_mm
        change = f"{after - before:+.2f} mm due to quantization"
        note(f"{output}: mean joint error on synthetic crops {after:.2f} mm, {change}")
