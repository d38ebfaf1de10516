"""What every backend is: numpy in, numpy out."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Literal, Protocol

import numpy as np

from handpose.errors import DeviceMemoryError

BackendName = Literal["auto", "torch", "onnxruntime", "openvino"]

METADATA_KEY = "handpose"
"""Under which an exported file keeps the name and the config of its weights, as JSON."""


class Backend(Protocol):
    """A loaded network."""

    def __call__(self, patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """From patches (N, 1, 96, 96) float32 to normalised joints and their spread, each (N, J, 3) float32.

        Raises:
            DeviceMemoryError: the device has too little memory for so many.
        """
        ...


class GraphBackend(Backend, Protocol):
    """A network loaded from an exported file.

    Attributes:
        metadata: what the file holds under `METADATA_KEY`, empty if nothing.
    """

    metadata: str


def threads() -> int:
    """How many threads a network on the CPU may use: `OMP_NUM_THREADS`, as torch and numpy have it, or 0 for all."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return int(first) if first.isdecimal() else 0


_NO_MEMORY = ("out of memory", "allocate memory", "not enough memory", "alloc_failed", "bad_alloc", "bad allocation")


@contextlib.contextmanager
def own_memory_errors() -> Iterator[None]:
    """Raises `DeviceMemoryError` for what a runtime raises when it lacks memory; all have exceptions of their own."""
    try:
        yield
    except Exception as error:
        lines = str(error).strip().splitlines()
        reasons = [line for line in lines if any(sign in line.lower() for sign in _NO_MEMORY)]
        if not reasons:
            raise
        raise DeviceMemoryError(reasons[0].strip()[-200:]) from None  # its end says what
