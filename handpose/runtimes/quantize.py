"""Quantizes the pose network to 8 bits."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from handpose.network.config import JGRP2OConfig

if TYPE_CHECKING:
    import onnx

CALIBRATION_CROPS = 256
"""Number of the first synthetic crops that calibrate the quantization. The others measure the joint error."""

_TEST_CROPS = 512
_OPERATORS = ["Conv", "Relu", "Add", "MaxPool", "Resize", "Concat"]  # "Add" joins two branches of quantized features


def synthetic_crops(config: JGRP2OConfig) -> tuple[np.ndarray, np.ndarray]:
    """Return synthetic patches (N, 1, 96, 96) and their normalized joints (N, J, 3), for calibration and tests."""
    from handpose.synthetic.hand_file import cached_hand_file
    from handpose.synthetic.hand_model import HandModel
    from handpose.synthetic.hands import SyntheticHands
    from handpose.synthetic.poses import cached_pose_bank

    hand = HandModel(cached_hand_file())
    held_out = cached_pose_bank(hand)[:1000]  # the validation poses of training
    source = SyntheticHands(hand, held_out, config.joint_layout, cube=config.cube, uv_scale=config.uv_scale, seed=1)
    with torch.inference_mode():
        batches = [source.batch(64) for _ in range((CALIBRATION_CROPS + _TEST_CROPS) // 64)]
    patches, uvz = (torch.cat(parts).numpy() for parts in zip(*batches, strict=True))
    return patches, uvz


def quantize(model: onnx.ModelProto, calibration: np.ndarray, file: Path) -> onnx.ModelProto:
    """Quantize features and weights to 8 bits, between the first convolution and the last offset maps.

    Args:
        model: The float32 graph.
        calibration: Patches (N, 1, 96, 96) that determine the range of the features.
        file: Path of the exported file; a temporary file is written next to it.
    """
    import onnx
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.batches = iter(np.array_split(calibration, 8))

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(({"patches": batch} for batch in self.batches), None)

    quantized_file = file.with_suffix(".int8.onnx")
    with silence_exporters():
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
    return onnx.load(quantized_file)


def _output_nodes(model: onnx.ModelProto) -> list[str]:
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
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
