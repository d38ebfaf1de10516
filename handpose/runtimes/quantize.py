"""Rounding a network to 8 bits."""

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

CALIBRATION, _CHECK = 256, 512  # rendered crops
_ROUNDED = ["Conv", "Relu", "Add", "MaxPool", "Resize", "Concat"]  # operators; a sum between them joins two branches


def rendered_crops(config: JGRP2OConfig) -> tuple[np.ndarray, np.ndarray]:
    """Rendered patches (N, 1, 96, 96) and their joints (N, J, 3), normalised, to calibrate on and to measure."""
    from handpose.synthetic.hand_file import cached_hand_file
    from handpose.synthetic.hand_model import HandModel
    from handpose.synthetic.hands import SyntheticHands
    from handpose.synthetic.poses import cached_pose_bank

    hand = HandModel(cached_hand_file())
    held_out = cached_pose_bank(hand)[:1000]  # the poses that training validates with
    source = SyntheticHands(hand, held_out, config.joint_layout, cube=config.cube, uv_scale=config.uv_scale, seed=1)
    with torch.inference_mode():
        batches = [source.batch(64) for _ in range((CALIBRATION + _CHECK) // 64)]
    patches, uvz = (torch.cat(parts).numpy() for parts in zip(*batches, strict=True))
    return patches, uvz


def quantized(model: onnx.ModelProto, calibration: np.ndarray, file: Path) -> onnx.ModelProto:
    """The graph with 8-bit features and weights between its first convolution and the last offset maps."""
    import onnx
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.batches = iter(np.array_split(calibration, 8))

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(({"patches": batch} for batch in self.batches), None)

    rounded = file.with_suffix(".int8.onnx")
    with quiet():
        quantization.quantize_static(
            model,
            rounded,
            Reader(),
            per_channel=True,
            # 7 of 8 bits: on processors without VNNI the sums of pairs of products would not fit.
            reduce_range=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            op_types_to_quantize=_ROUNDED,
            nodes_to_exclude=_from_last_offsets_on(model),
        )
    return onnx.load(rounded)


def _from_last_offsets_on(model: onnx.ModelProto) -> list[str]:
    """Names of the nodes that make the last stack's offset maps, and of all that depend on them."""
    heads = [node for node in model.graph.node if any(name.startswith("heads.") for name in node.input)]
    reached = set(heads[-1].output)
    names = [heads[-1].name]
    for node in model.graph.node:  # in the order of computation
        if reached & set(node.input):
            reached |= set(node.output)
            names.append(node.name)
    return names


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps to themselves what the exporters say of their own workings."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
