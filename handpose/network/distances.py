"""How far joints are apart, in mm."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from handpose.geometry.crop import PATCH
from handpose.network.config import JGRP2OConfig


def distances_mm(uvz: np.ndarray, others: np.ndarray, config: JGRP2OConfig) -> np.ndarray:
    """Distances (...) in mm between normalised joints (..., 3), with u and v taken at the cube's own scale."""
    across = config.uv_scale / PATCH * config.cube
    distances: np.ndarray = np.linalg.norm((uvz - others) * [across, across, config.cube / 2], axis=-1)
    return distances


def joint_errors(uvz: Tensor, truth: Tensor, config: JGRP2OConfig) -> Tensor:
    """Distances (N, J) in mm between joints (N, J, 3), normalised as `config` says, u and v at the cube's own scale."""
    across = config.uv_scale / PATCH * config.cube
    scale = uvz.new_tensor([across, across, config.cube / 2])
    errors: Tensor = torch.linalg.vector_norm((uvz - truth) * scale, dim=-1)
    return errors
