"""Distances between normalized joints, in mm."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from handpose.geometry.crop import PATCH
from handpose.network.config import JGRP2OConfig


def distances_mm(uvz: np.ndarray, others: np.ndarray, config: JGRP2OConfig) -> np.ndarray:
    """Return the distances (...) in mm between normalized joints (..., 3), as if all were at the center's depth."""
    across = config.uv_scale / PATCH * config.cube
    distances: np.ndarray = np.linalg.norm((uvz - others) * [across, across, config.cube / 2], axis=-1)
    return distances


def joint_errors(uvz: Tensor, truth: Tensor, config: JGRP2OConfig) -> Tensor:
    """Return the distances (N, J) in mm between normalized joints (N, J, 3), like `distances_mm`, for torch."""
    across = config.uv_scale / PATCH * config.cube
    scale = uvz.new_tensor([across, across, config.cube / 2])
    errors: Tensor = torch.linalg.vector_norm((uvz - truth) * scale, dim=-1)
    return errors
