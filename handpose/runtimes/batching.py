"""Runs the pose network in batches that fit into the memory of the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from handpose.errors import DeviceMemoryError

Run = Callable[[np.ndarray], tuple[np.ndarray, ...]]
"""Runs the pose network on patches (N, 1, 96, 96), and returns outputs (N, ...), as `Runtime.pose` does."""

_MAX_BATCH = 64


def run_in_batches(run: Run, patches: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Return the outputs (N, ...) of the pose network for N > 0 patches (96, 96).

    When the device runs out of memory, the batch is halved and run again.

    Raises:
        DeviceMemoryError: The device has no memory for a single patch.
    """
    results: list[tuple[np.ndarray, ...]] = []
    start, size = 0, _MAX_BATCH
    while start < len(patches):
        batch = patches[start : start + size]
        try:
            results.append(run(np.array(batch)[:, None]))
        except DeviceMemoryError as error:
            if len(batch) == 1:
                raise DeviceMemoryError(
                    f"the device does not have enough memory for a single crop ({error}); use the CPU"
                ) from None
            size = len(batch) // 2
            continue
        start += len(batch)
    return results[0] if len(results) == 1 else tuple(map(np.concatenate, zip(*results, strict=True)))
