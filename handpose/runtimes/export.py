"""From weights to one file that ONNX Runtime or OpenVINO runs: decode and spread in the graph, any batch size.

int8 (static quantisation) rounds features and weights to 8 bits. The voting weights' softmax, the last offset maps
and the sum of the votes stay in float32.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from handpose.errors import HandPoseError
from handpose.geometry.crop import PATCH
from handpose.network.distances import distances_mm
from handpose.runtimes.base import METADATA_KEY, Backend, GraphBackend
from handpose.runtimes.onnx_runtime import OnnxRuntimeBackend
from handpose.runtimes.openvino_runtime import OpenVinoBackend
from handpose.runtimes.quantize import CALIBRATION, quantized, quiet, rendered_crops
from handpose.weights.folder import Weights

TOLERANCE = 0.05
"""How far an exported float32 network's joints may be from PyTorch's, mm."""

_BATCHES = (1, 3, 64)  # that are compared with PyTorch


@dataclass(frozen=True)
class Exported:
    """What became of an export.

    Attributes:
        file: the file.
        largest_mm: for float32, the largest distance of a joint from where PyTorch has it, on made-up patches.
        int8_error_mm: for int8, the mean joint error on rendered crops before and after rounding.
    """

    file: Path
    largest_mm: float | None = None
    int8_error_mm: tuple[float, float] | None = None


def export(weights: Weights, file: str | Path, *, int8: bool = False) -> Exported:
    """Writes the network as a file, once its joints have been compared with PyTorch's.

    Args:
        weights: what to write.
        file: a `.onnx` file for ONNX Runtime (extra `onnx`), or an `.xml` for OpenVINO (extra `openvino`), which gets
            a `.bin` beside it.
        int8: round to 8 bits, calibrated on rendered hands: needs the extra `onnx`, and `train` the first time.

    Raises:
        HandPoseError: an extra is missing, the file cannot be written, or its joints are not PyTorch's. Then no file
            is left.
    """
    file = Path(file)
    if file.suffix not in _FORMS:
        raise HandPoseError(f"{file}: expected a name that ends in {' or '.join(_FORMS)}")
    write, load = _FORMS[file.suffix]
    rendered = rendered_crops(weights.config) if int8 else None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent, prefix=".export-") as folder:
            made = Path(folder) / file.name
            write(weights, made, None if rendered is None else rendered[0][:CALIBRATION])
            backend = load(made)
            exported = _compared(weights, backend, file, rendered)
            del backend  # some systems move no open files
            # Last the file by which others will know that all is there.
            for part in (made.with_suffix(".bin"), made):
                if part.exists():
                    part.replace(file.with_name(part.name))
    except OSError as error:
        raise HandPoseError(f"{file}: cannot be written ({error})") from None
    return exported


def _compared(
    weights: Weights, backend: Backend, file: Path, rendered: tuple[np.ndarray, np.ndarray] | None
) -> Exported:
    """What to say of an exported network; an error if it is not the same network."""
    model = weights.load()

    def pytorch(patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with torch.inference_mode():
            uvz, spread = model(torch.from_numpy(patches))
        return uvz.numpy(), spread.numpy()

    if rendered is not None:
        crops, truth = (array[CALIBRATION:] for array in rendered)
        before, after = (
            float(
                distances_mm(
                    np.concatenate([run(part)[0] for part in np.split(crops, 8)]), truth, weights.config
                ).mean()
            )
            for run in (pytorch, backend)
        )
        return Exported(file, int8_error_mm=(before, after))
    patches = _made_up_patches(max(_BATCHES))
    expected = np.stack(pytorch(patches))
    largest = max(
        float(distances_mm(np.stack(backend(patches[:count])), expected[:, :count], weights.config).max())
        for count in _BATCHES
    )
    if not largest <= TOLERANCE:
        raise HandPoseError(f"{file}: not written, since its joints are up to {largest:.3g} mm from PyTorch's")
    return Exported(file, largest)


def _made_up_patches(count: int) -> np.ndarray:
    """Patches (N, 1, 96, 96) with forty balls each: about as smooth and as steep as hands."""
    rng = np.random.default_rng(0)
    v, u = np.indices((PATCH, PATCH)) / (PATCH / 2) - 1
    patches = np.ones((count, 1, PATCH, PATCH), np.float32)
    for patch in patches[:, 0]:
        for x, y, z, radius in rng.uniform((-0.7, -0.7, -0.5, 0.05), (0.7, 0.7, 0.7, 0.25), (40, 4)):
            below = radius**2 - (u - x) ** 2 - (v - y) ** 2
            np.minimum(patch, z - np.sqrt(below.clip(0)), out=patch, where=below > 0)
    return patches


def _description(weights: Weights, int8: bool) -> str:
    """What the file says of itself: all that an estimator needs besides the graph."""
    name = Path(weights.name).name + ("-int8" if int8 else "")
    return json.dumps({"name": name, "config": weights.config.to_dict()})


def _write_onnx(weights: Weights, file: Path, calibration: np.ndarray | None) -> None:
    try:
        import onnx
        import onnxscript  # noqa: F401  # what torch.onnx needs
    except ImportError:
        raise HandPoseError("writing ONNX needs onnx and onnxscript: pip install 'handpose[onnx]'") from None

    with quiet(), torch.inference_mode():
        program = torch.onnx.export(
            weights.load(),
            (torch.zeros(2, 1, PATCH, PATCH),),
            input_names=["patches"],
            output_names=["uvz", "spread"],
            dynamic_shapes=({0: torch.export.Dim("count")},),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    if calibration is not None:
        model = quantized(model, calibration, file)
    onnx.helper.set_model_props(model, {METADATA_KEY: _description(weights, calibration is not None)})
    onnx.save(model, file)


def _write_openvino(weights: Weights, file: Path, calibration: np.ndarray | None) -> None:
    try:
        import openvino
    except ImportError:
        raise HandPoseError("writing OpenVINO needs openvino: pip install 'handpose[openvino]'") from None

    if calibration is not None:
        _write_onnx(weights, file.with_suffix(".onnx"), calibration)
        model = openvino.convert_model(file.with_suffix(".onnx"))
    else:
        with quiet():
            example = torch.zeros(2, 1, PATCH, PATCH)
            model = openvino.convert_model(weights.load(), example_input=example, input=[-1, 1, PATCH, PATCH])
        for port, name in zip([*model.inputs, *model.outputs], ("patches", "uvz", "spread"), strict=True):
            port.get_tensor().set_names({name})
    model.set_rt_info(_description(weights, calibration is not None), [METADATA_KEY])
    openvino.save_model(model, file, compress_to_fp16=False)


_Writer = Callable[[Weights, Path, "np.ndarray | None"], None]
_FORMS: dict[str, tuple[_Writer, Callable[[Path], GraphBackend]]] = {
    ".onnx": (_write_onnx, OnnxRuntimeBackend),
    ".xml": (_write_openvino, OpenVinoBackend),
}
