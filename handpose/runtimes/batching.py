"""Runs the pose network in batches that fit into the memory of the device."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from handpose.errors import DeviceMemoryError
from handpose.runtimes.base import Runtime

_MAX_BATCH = 64


def run_in_batches(runtime: Runtime, patches: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the normalized joints and their spread, each (N, J, 3), of N > 0 patches (96, 96).

    When the device runs out of memory, the batch is halved and run again.

    Raises:
        DeviceMemoryError: The device has no memory for a single patch.
    """
    results: list[tuple[np.ndarray, np.ndarray]] = []
    start, size = 0, _MAX_BATCH
    while start < len(patches):
        batch = patches[start : start + size]
        try:
            results.append(runtime.pose(np.array(batch)[:, None]))
        except DeviceMemoryError as error:
            if len(batch) == 1:
                raise DeviceMemoryError(
                    f"the device does not have enough memory for a single crop ({error}); use the CPU"
                ) from None
            size = len(batch) // 2
            continue
        start += len(batch)
    if len(results) == 1:
        return results[0]
    uvz, spread = map(np.concatenate, zip(*results, strict=True))
    return uvz, spread
