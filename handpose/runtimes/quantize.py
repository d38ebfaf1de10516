"""Quantizes the pose network to 8 bits."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from handpose.errors import HandPoseError
from handpose.geometry.layouts import LAYOUTS
from handpose.io.atomic import write_atomically
from handpose.network.config import JGRP2OConfig

CROPS_FILE = Path(__file__).with_name("crops.npz")
"""Synthetic crops: their patches as 8-bit integers, and their joints in each layout."""

CALIBRATION_CROPS = 128
"""Number of the first synthetic crops that calibrate the quantization. The others measure the joint error."""

_TEST_CROPS = 128
_CUBE, _UV_SCALE = 250.0, 95.0  # of the crops
_OPERATORS = ["Conv", "Relu", "Add", "MaxPool", "Resize", "Concat"]  # "Add" joins two branches of quantized features


def synthetic_crops(config: JGRP2OConfig) -> tuple[np.ndarray, np.ndarray]:
    """Return synthetic patches (N, 1, 96, 96) and their normalized joints (N, J, 3), for calibration and tests."""
    with np.load(CROPS_FILE) as stored:
        patches, uvz = stored["patches"], stored[config.layout].astype(np.float32)
    uvz[..., :2] *= _UV_SCALE / config.uv_scale
    return patches.astype(np.float32)[:, None] / 127.5 - 1.0, uvz


def render_crops(file: Path = CROPS_FILE) -> None:
    """Render the synthetic crops, which are part of the package.

    Raises:
        HandPoseError: The hand model does not exist yet, and generating it requires the extra `train`.
        OSError: The file cannot be written.
    """
    from handpose.synthetic.hand_file import cached_hand_file
    from handpose.synthetic.hand_model import HandModel
    from handpose.synthetic.hands import SyntheticHands
    from handpose.synthetic.poses import cached_pose_bank

    hand = HandModel(cached_hand_file())
    held_out = cached_pose_bank(hand)[:1000]  # the validation poses of training
    arrays: dict[str, Any] = {}
    for name, layout in LAYOUTS.items():  # the patches do not depend on the layout
        source = SyntheticHands(hand, held_out, layout, cube=_CUBE, uv_scale=_UV_SCALE, seed=1)
        with torch.inference_mode():
            batches = [source.batch(64) for _ in range((CALIBRATION_CROPS + _TEST_CROPS) // 64)]
        patches, uvz = (torch.cat(parts).numpy() for parts in zip(*batches, strict=True))
        arrays[name] = uvz.astype(np.float16)
    arrays["patches"] = np.rint((patches[:, 0] + 1.0) * 127.5).astype(np.uint8)
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    write_atomically(file, content.getvalue())


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
    with silence_exporters(), tempfile.TemporaryDirectory() as folder:
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
            nodes_to_exclude=_output_nodes(model),
        )
        return quantized_file.read_bytes()


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
