"""Converts the PyTorch networks to ONNX graphs, among them those that are part of the package."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from handpose.errors import HandPoseError
from handpose.geometry.crop import PATCH
from handpose.geometry.layouts import LAYOUTS
from handpose.io.atomic import write_atomically
from handpose.localization.network import GRAPH_FILE, VIEW_STRIDE
from handpose.localization.torch_runtime import LocalizerModel
from handpose.network.config import JGRP2OConfig
from handpose.network.model import JGRP2O
from handpose.runtimes.base import OUTPUTS
from handpose.runtimes.cuda_graphs import fold_batch_norms
from handpose.runtimes.templates import TEMPLATES_FILE, pack_templates

if TYPE_CHECKING:
    import onnx


def pose_graph(model: JGRP2O) -> onnx.ModelProto:
    """Return the ONNX graph of the pose network, including the decoding of joints and spread, for any batch size.

    Its outputs are those of the network, named `OUTPUTS`.

    Raises:
        HandPoseError: The extra `onnx` is not installed.
    """
    example = torch.zeros(2, 1, PATCH, PATCH)
    outputs = OUTPUTS if model.config.graph != "none" else OUTPUTS[:2]
    return _to_onnx(model, example, ("patches",), outputs, {0: torch.export.Dim("count")})


def export_localizer(file: Path = GRAPH_FILE) -> None:
    """Export the localizer network, whose graph is part of the package, to an ONNX file.

    Raises:
        HandPoseError: The extra `onnx` is not installed.
        OSError: The file cannot be written.
    """
    rows, columns = (VIEW_STRIDE * torch.export.Dim(name) for name in ("rows", "columns"))
    example = torch.zeros(1, 2, 3 * VIEW_STRIDE, 4 * VIEW_STRIDE)
    graph = _to_onnx(LocalizerModel(), example, ("channels",), ("votes",), {2: rows, 3: columns})
    write_atomically(file, graph.SerializeToString(deterministic=True))


def export_templates(file: Path = TEMPLATES_FILE) -> None:
    """Write the templates of the pose network's graph, which are part of the package.

    Raises:
        HandPoseError: The extra `onnx` is not installed.
        OSError: The file cannot be written.
    """
    write_atomically(file, pack_templates({layout: _template(JGRP2OConfig(layout)) for layout in LAYOUTS}))


def _template(config: JGRP2OConfig) -> tuple[bytes, dict[str, torch.Size]]:
    """Return the ONNX graph of a network without its weights, and the shape of each tensor in a weights file."""
    model = JGRP2O(config)
    shapes = {
        name: tensor.shape for name, tensor in model.state_dict().items() if not name.endswith("num_batches_tracked")
    }
    for name, tensor in model.state_dict().items():
        if name.endswith("running_mean"):
            torch.nn.init.uniform_(tensor)  # the exporter merges equal tensors, such as the biases of a new network
    graph = pose_graph(fold_batch_norms(model.eval()))
    for name, tensor in model.state_dict().items():
        if tensor.ndim == 2:  # the exporter transposes matrices and renames them
            values = tensor.T.numpy().tobytes()
            (stored,) = (stored.name for stored in graph.graph.initializer if stored.raw_data == values)
            for node in graph.graph.node:
                node.input[:] = [name if used == stored else used for used in node.input]
    used = {name for node in graph.graph.node for name in node.input}
    weights = model.state_dict().keys()
    assert weights <= used
    kept = [initializer for initializer in graph.graph.initializer if initializer.name in used - weights]
    del graph.graph.initializer[:], graph.graph.value_info[:]
    graph.graph.initializer.extend(kept)
    return graph.SerializeToString(deterministic=True), shapes


def _to_onnx(
    model: torch.nn.Module,
    example: torch.Tensor,
    inputs: tuple[str],
    outputs: tuple[str, ...],
    dynamic_axes: dict[int, torch.export.Dim],
) -> onnx.ModelProto:
    """Convert a network to an ONNX graph in which the given axes of the input may have any size."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401  # required by torch.onnx
    except ImportError:
        raise HandPoseError("exporting to ONNX requires onnx and onnxscript: pip install 'handpose[onnx]'") from None

    with silence_exporters(), torch.inference_mode():
        program = torch.onnx.export(
            model.eval(),
            (example,),
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes=(dynamic_axes,),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    graph = program.model_proto
    for node in graph.graph.node:
        node.ClearField("metadata_props")  # contains paths of this machine
    return graph


@contextlib.contextmanager
def silence_exporters() -> Iterator[None]:
    """Suppress the log messages and warnings of the exporters, which concern their internals."""

    def is_ours(record: logging.LogRecord) -> bool:
        return "onnxruntime" not in Path(record.pathname).parts

    # ONNX Runtime logs with the root logger, and would configure it if it had no handler.
    root, handler = logging.getLogger(), logging.NullHandler()
    root.addFilter(is_ours)
    root.addHandler(handler)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.removeHandler(handler)
        root.removeFilter(is_ours)
