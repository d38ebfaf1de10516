"""Exports the pose network to files for ONNX Runtime and OpenVINO.

The graph of the pose network includes the decoding of joints and spread and accepts any batch size. With int8, features
and weights are quantized to 8 bits. The softmax of the vote weights, the last offset maps and the sum of the votes
remain in float32.
"""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from handpose.errors import HandPoseError
from handpose.geometry.crop import PATCH
from handpose.io.outputs import refuse_existing, writing
from handpose.io.progress import report
from handpose.io.warn import warn
from handpose.network.distances import distances_mm
from handpose.runtimes.base import BIN_KEY, HEADS_KEY, METADATA_KEY, OUTPUTS, GraphRuntime, Runtime
from handpose.runtimes.crops import CALIBRATION_CROPS, synthetic_crops
from handpose.runtimes.onnx_graphs import pose_graph, silence_exporters
from handpose.runtimes.onnx_runtime import OnnxRuntime
from handpose.runtimes.openvino_runtime import OpenVinoRuntime
from handpose.runtimes.quantize import quantize
from handpose.runtimes.templates import add_metadata, fill_template
from handpose.weights.folder import Weights, file_sha256
from handpose.weights.heads_file import heads_bytes

TOLERANCE = 0.05
"""Maximum distance in mm between the joints of an exported float32 network and those of PyTorch."""

_MAX_LOSS = 1.1  # ratio of the joint errors with 8 bits and without; 1.01 for `msra`
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

    Warns:
        UserWarning: The quantization increases the joint error by more than 10%.
    """
    file = Path(file)
    if file.suffix not in _FORMATS:
        raise HandPoseError(f"{file}: expected a name that ends in {' or '.join(_FORMATS)}")
    refuse_existing(file, force=force)
    if file.suffix == ".xml":
        refuse_existing(file.with_suffix(".bin"), force=force)
    write, load = _FORMATS[file.suffix]
    crops = synthetic_crops(weights.config) if int8 else None
    with writing(file):
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
    if exported.int8_error_mm is not None:
        before, after = exported.int8_error_mm
        if not after <= _MAX_LOSS * before:
            warn(
                f"{weights.name}: 8 bits are too few for these weights: the mean joint error on synthetic crops is "
                f"{after:.1f} mm instead of {before:.1f} mm; use float32"
            )
    return exported


def _compare(weights: Weights, runtime: Runtime, file: Path, crops: tuple[np.ndarray, np.ndarray] | None) -> Exported:
    """Compare an exported network with PyTorch, on synthetic crops if it is quantized, otherwise on random patches."""
    model = weights.load()

    def pytorch(patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with torch.inference_mode():
            uvz, spread, *_ = model(torch.from_numpy(patches))
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


def _metadata(weights: Weights, int8: bool, bin_sha256: str = "") -> str:
    """Return the name, the configuration and, if they exist, the heads of the weights, as JSON.

    The hash is that of a second file with the tensors, if there is one.
    """
    name = Path(weights.name).name + ("-int8" if int8 else "")
    heads = weights.heads()
    stored = {} if heads is None else {HEADS_KEY: base64.b64encode(heads_bytes(heads, "")).decode()}
    if bin_sha256:
        stored[BIN_KEY] = bin_sha256
    return json.dumps({"name": name, "config": weights.config.to_dict(), **stored})


def _write_onnx(weights: Weights, file: Path, calibration: np.ndarray | None) -> None:
    graph = fill_template(weights) or pose_graph(weights.load()).SerializeToString()
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
        for port, name in zip([*model.inputs, *model.outputs], ("patches", *OUTPUTS), strict=False):
            port.get_tensor().set_names({name})
    openvino.save_model(model, file, compress_to_fp16=False)
    # The first file states which second file belongs to it, because only one of them may be copied or replaced.
    bin_sha256 = file_sha256(file.with_suffix(".bin"))
    model.set_rt_info(_metadata(weights, calibration is not None, bin_sha256), [METADATA_KEY])
    openvino.save_model(model, file, compress_to_fp16=False)


_Writer = Callable[[Weights, Path, "np.ndarray | None"], None]
_FORMATS: dict[str, tuple[_Writer, Callable[[Path], GraphRuntime]]] = {
    ".onnx": (_write_onnx, OnnxRuntime),
    ".xml": (_write_openvino, OpenVinoRuntime),
}
