"""Synthetic crops, part of the package, that calibrate and test the quantization to 8 bits."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from handpose.geometry.layouts import LAYOUTS
from handpose.io.atomic import write_atomically
from handpose.network.config import JGRP2OConfig

CROPS_FILE = Path(__file__).with_name("crops.npz")
"""Synthetic crops: their patches as 8-bit integers, and their joints in each layout."""

CALIBRATION_CROPS = 128
"""Number of the first synthetic crops that calibrate the quantization. The others measure the joint error."""

_TEST_CROPS = 128
_CUBE, _UV_SCALE = 250.0, 95.0  # of the crops


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
    import torch

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
