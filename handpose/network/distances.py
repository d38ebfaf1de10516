"""How far joints are apart, in mm."""

from __future__ import annotations

import numpy as np

from handpose.geometry.crop import PATCH
from handpose.network.config import JGRP2OConfig


def distances_mm(uvz: np.ndarray, others: np.ndarray, config: JGRP2OConfig) -> np.ndarray:
    """Distances (...) in mm between normalised joints (..., 3), with u and v taken at the cube's own scale."""
    across = config.uv_scale / PATCH * config.cube
    distances: np.ndarray = np.linalg.norm((uvz - others) * [across, across, config.cube / 2], axis=-1)
    return distances
