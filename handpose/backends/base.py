"""What every backend is: numpy in, numpy out."""

from __future__ import annotations

import os
from typing import Literal, Protocol

import numpy as np

BackendName = Literal["auto", "torch", "onnxruntime", "openvino"]

METADATA_KEY = "handpose"
"""Under which an exported file keeps the name and the config of its weights, as JSON."""


class Backend(Protocol):
    """A loaded network."""

    def __call__(self, patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """From patches (N, 1, 96, 96) float32 to normalised joints and their spread, each (N, J, 3) float32."""
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
