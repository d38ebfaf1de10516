"""Exports the networks to files for ONNX Runtime and OpenVINO.

The graph of the pose network includes the decoding of joints and spread and accepts any batch size. With int8, features
and weights are quantized to 8 bits. The softmax of the vote weights, the last offset maps and the sum of the votes
remain in float32.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from handpose.errors import HandPoseError
from handpose.geometry.crop import PATCH
from handpose.geometry.layouts import LAYOUTS
from handpose.io.atomic import write_atomically
from handpose.io.outputs import refuse_existing
from handpose.io.progress import report
from handpose.localization.network import GRAPH_FILE, VIEW_STRIDE
from handpose.localization.torch_runtime import LocalizerModel
from handpose.network.config import JGRP2OConfig
from handpose.network.distances import distances_mm
from handpose.network.model import JGRP2O
from handpose.runtimes.base import METADATA_KEY, GraphRuntime, Runtime
from handpose.runtimes.cuda_graphs import fold_batch_norms
from handpose.runtimes.onnx_runtime import OnnxRuntime
from handpose.runtimes.openvino_runtime import OpenVinoRuntime
from handpose.runtimes.quantize import CALIBRATION_CROPS, quantize, silence_exporters, synthetic_crops
from handpose.runtimes.templates import TEMPLATES_FILE, add_metadata, fill_template, pack_templates
from handpose.weights.folder import Weights

if TYPE_CHECKING:
    import onnx

TOLERANCE = 0.05
"""Maximum distance in mm between the joints of an exported float32 network and those of PyTorch."""

_BATCHES = (1, 3, 64)  # batch sizes that are compared with PyTorch


@dataclass(frozen=True)
class Exported:
    """The result of an export.

    Attributes:
        file: File that was written.
        largest_mm: For float32, the largest distance in mm between a joint and the same joint from PyTorch, on random
            patches.
        int8_error_mm: For int8, the mean joint error in mm on synthetic crops before and after quantization.
    """

    file: Path
    largest_mm: float | None = None
    int8_error_mm: tuple[float, float] | None = None


def export(weights: Weights, file: str | Path, *, int8: bool = False, force: bool = False) -> Exported:
    """Export the pose network to a file, after comparing its joints with those of PyTorch.

    Args:
        weights: Weights of the pose network.
        file: `.onnx` file for ONNX Runtime (requires the extra `onnx`), or `.xml` file for OpenVINO (requires the extra
            `openvino`); OpenVINO also stores a `.bin` file next to it.
        int8: Quantize to 8 bits, calibrated on synthetic crops. Requires the extra `onnx`.
        force: Whether an existing file may be overwritten.

    Raises:
        HandPoseError: An extra is missing, the file exists or cannot be written, or its joints differ from those of
            PyTorch. No file is written.
    """
    file = Path(file)
    if file.suffix not in _FORMATS:
        raise HandPoseError(f"{file}: expected a name that ends in {' or '.join(_FORMATS)}")
    refuse_existing(file, force=force)
    write, load = _FORMATS[file.suffix]
    crops = synthetic_crops(weights.config) if int8 else None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent, prefix=".export-") as folder:
            partial = Path(folder) / file.name
            report("exporting and quantizing the network" if int8 else "exporting the network")
            write(weights, partial, None if crops is None else crops[0][:CALIBRATION_CROPS])
            runtime = load(partial)
            report("comparing the exported network with PyTorch")
            exported = _compare(weights, runtime, file, crops)
            del runtime  # Windows cannot move open files
            # The main file is moved last: once it exists, the export is complete.
            for part in (partial.with_suffix(".bin"), partial):
                if part.exists():
                    part.replace(file.with_name(part.name))
    except OSError as error:
        raise HandPoseError(f"{file}: cannot be written ({error})") from None
    return exported


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
    graph = _pose_graph(fold_batch_norms(model.eval()))
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


def _compare(weights: Weights, runtime: Runtime, file: Path, crops: tuple[np.ndarray, np.ndarray] | None) -> Exported:
    """Compare an exported network with PyTorch, on synthetic crops if it is quantized, otherwise on random patches."""
    model = weights.load()

    def pytorch(patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with torch.inference_mode():
            uvz, spread = model(torch.from_numpy(patches))
        return uvz.numpy(), spread.numpy()

    if crops is not None:
        patches, truth = (array[CALIBRATION_CROPS:] for array in crops)
        before, after = (
            float(
                distances_mm(
                    np.concatenate([pose(part)[0] for part in np.split(patches, 8)]), truth, weights.config
                ).mean()
            )
            for pose in (pytorch, runtime.pose)
        )
        return Exported(file, int8_error_mm=(before, after))
    patches = _random_patches(max(_BATCHES))
    expected = np.stack(pytorch(patches))
    largest = max(
        float(distances_mm(np.stack(runtime.pose(patches[:count])), expected[:, :count], weights.config).max())
        for count in _BATCHES
    )
    if not largest <= TOLERANCE:
        raise HandPoseError(f"{file}: not written, since its joints differ from PyTorch's by up to {largest:.3g} mm")
    return Exported(file, largest)


def _random_patches(count: int) -> np.ndarray:
    """Generate patches (N, 1, 96, 96) of forty random balls each, whose surfaces are about as smooth as hands."""
    rng = np.random.default_rng(0)
    v, u = np.indices((PATCH, PATCH)) / (PATCH / 2) - 1
    patches = np.ones((count, 1, PATCH, PATCH), np.float32)
    for patch in patches[:, 0]:
        for x, y, z, radius in rng.uniform((-0.7, -0.7, -0.5, 0.05), (0.7, 0.7, 0.7, 0.25), (40, 4)):
            squared_height = radius**2 - (u - x) ** 2 - (v - y) ** 2
            np.minimum(patch, z - np.sqrt(squared_height.clip(0)), out=patch, where=squared_height > 0)
    return patches


def _metadata(weights: Weights, int8: bool) -> str:
    """Return the name and the configuration of the weights, as JSON."""
    name = Path(weights.name).name + ("-int8" if int8 else "")
    return json.dumps({"name": name, "config": weights.config.to_dict()})


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


def _pose_graph(model: JGRP2O) -> onnx.ModelProto:
    example = torch.zeros(2, 1, PATCH, PATCH)
    return _to_onnx(model, example, ("patches",), ("uvz", "spread"), {0: torch.export.Dim("count")})


def _write_onnx(weights: Weights, file: Path, calibration: np.ndarray | None) -> None:
    graph = fill_template(weights) or _pose_graph(weights.load()).SerializeToString()
    if calibration is not None:
        graph = quantize(graph, calibration)
    file.write_bytes(add_metadata(graph, METADATA_KEY, _metadata(weights, calibration is not None)))


def _write_openvino(weights: Weights, file: Path, calibration: np.ndarray | None) -> None:
    try:
        import openvino
    except ImportError:
        raise HandPoseError("exporting to OpenVINO requires openvino: pip install 'handpose[openvino]'") from None

    graph = fill_template(weights)
    if calibration is not None:
        _write_onnx(weights, file.with_suffix(".onnx"), calibration)
        model = openvino.convert_model(file.with_suffix(".onnx"))  # `read_model` misreads 8-bit graphs
    elif graph is not None:
        model = openvino.Core().read_model(graph)
    else:
        with silence_exporters():
            example = torch.zeros(2, 1, PATCH, PATCH)
            model = openvino.convert_model(weights.load(), example_input=example, input=[-1, 1, PATCH, PATCH])
        for port, name in zip([*model.inputs, *model.outputs], ("patches", "uvz", "spread"), strict=True):
            port.get_tensor().set_names({name})
    model.set_rt_info(_metadata(weights, calibration is not None), [METADATA_KEY])
    openvino.save_model(model, file, compress_to_fp16=False)


_Writer = Callable[[Weights, Path, "np.ndarray | None"], None]
_FORMATS: dict[str, tuple[_Writer, Callable[[Path], GraphRuntime]]] = {
    ".onnx": (_write_onnx, OnnxRuntime),
    ".xml": (_write_openvino, OpenVinoRuntime),
}
