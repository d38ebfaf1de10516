"""Quantizes the pose network to 8 bits."""

from __future__ import annotations

import contextlib
import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from handpose.errors import HandPoseError
from handpose.runtimes.onnx_graphs import silence_exporters

_OPERATORS = ["Conv", "Relu", "Add", "MaxPool", "Resize", "Concat"]  # "Add" joins two branches of quantized features


def quantize(graph: bytes, calibration: np.ndarray) -> bytes:
    """Quantize features and weights to 8 bits, between the first convolution and the last offset maps.

    Args:
        graph: The float32 graph.
        calibration: Patches (N, 1, 96, 96) that determine the range of the features.

    Raises:
        HandPoseError: The extra `onnx` is not installed.
    """
    try:
        import onnx
        from onnxruntime import quantization
    except ImportError:
        raise HandPoseError("8-bit quantization requires onnx and onnxruntime: pip install 'handpose[onnx]'") from None

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.batches = iter(np.array_split(calibration, 8))

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(({"patches": batch} for batch in self.batches), None)

    model = onnx.load_from_string(graph)
    # The percentile ignores rare extremes of the features, which would make the steps of all others coarser.
    with silence_exporters(), contextlib.redirect_stdout(io.StringIO()), tempfile.TemporaryDirectory() as folder:
        quantized_file = Path(folder) / "int8.onnx"
        quantization.quantize_static(
            model,
            quantized_file,
            Reader(),
            per_channel=True,
            # Weights use 7 of 8 bits: on processors without VNNI, sums of two products would overflow.
            reduce_range=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            op_types_to_quantize=_OPERATORS,
            nodes_to_exclude=[_first_convolution(model), *_output_nodes(model)],
            calibrate_method=quantization.CalibrationMethod.Percentile,
            extra_options={"CalibPercentile": 99.999},
        )
        return quantized_file.read_bytes()


def _first_convolution(model: Any) -> str:
    """Return the name of the node that reads the patches, whose smallest steps are tenths of a millimeter."""
    return next(node.name for node in model.graph.node if node.op_type == "Conv")  # type: ignore[no-any-return]


def _output_nodes(model: Any) -> list[str]:
    """Return the names of the nodes that compute the offset maps of the last stack, or that depend on these."""
    heads = [node for node in model.graph.node if any(name.startswith("heads.") for name in node.input)]
    dependent = set(heads[-1].output)
    names = [heads[-1].name]
    for node in model.graph.node:  # in order of execution
        if dependent & set(node.input):
            dependent |= set(node.output)
            names.append(node.name)
    return names
