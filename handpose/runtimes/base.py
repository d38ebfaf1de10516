"""The interface of the runtimes, and what they share."""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from handpose.errors import DeviceMemoryError
from handpose.localization.numpy_runtime import votes_in_numpy

METADATA_KEY = "handpose"
"""Metadata entry of an exported file that stores the name and the configuration of its weights, as JSON."""


HEADS_KEY = "heads"
"""Key in this entry under which the file of the heads is stored, base64-encoded, if the weights have any."""

BIN_KEY = "bin_sha256"
"""Key in this entry of an `.xml` file under which the SHA-256 of its `.bin` file is stored."""

OUTPUTS = ("uvz", "spread", "features")
"""Names of the outputs of a graph of the pose network; `features` is missing if the network has no joint features."""


class Runtime(ABC):
    """The pose network and the localizer network, loaded and ready to run."""

    @abstractmethod
    def pose(self, patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Run the pose network.

        Args:
            patches: (N, 1, 96, 96) float32.

        Returns:
            Normalized joints and the spread of their votes, each (N, J, 3) float32.

        Raises:
            DeviceMemoryError: The device has too little memory for N patches.
        """

    def pose_and_features(self, patches: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Run the pose network, and return the joint features (N, S, J, C) of its S stacks, too, if it has any.

        See `pose` for the argument, the other results and the errors.
        """
        return *self.pose(patches), None

    def votes(self, channels: np.ndarray) -> np.ndarray:
        """Run the localizer network; in numpy, unless a runtime has a faster implementation.

        Args:
            channels: (1, 2, h, w) float32, see `coarse_channels`.

        Returns:
            Logit and offset of each cell, (1, 4, h/4, w/4) float32.

        Raises:
            DeviceMemoryError: The device has too little memory.
        """
        return votes_in_numpy(channels)


class GraphRuntime(Runtime):
    """A runtime whose pose network is a graph.

    Attributes:
        metadata: Value that the graph stores under `METADATA_KEY`, empty if there is none.
    """

    metadata: str


def graph_name(graph: Path | bytes) -> str:
    """Return the name of a graph in error messages: its path, if it is a file."""
    return "the graph" if isinstance(graph, bytes) else str(graph)


def max_threads() -> int:
    """Return the number of CPU threads that a network may use: `OMP_NUM_THREADS`, or 0 for all cores."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return int(first) if first.isdecimal() else 0


_OUT_OF_MEMORY = (
    "out of memory",
    "allocate memory",
    "not enough memory",
    "alloc_failed",
    "bad_alloc",
    "bad allocation",
)


@contextlib.contextmanager
def convert_out_of_memory() -> Iterator[None]:
    """Raise `DeviceMemoryError` instead of the exception with which a runtime reports too little memory."""
    try:
        yield
    except Exception as error:
        lines = str(error).strip().splitlines()
        reasons = [line for line in lines if any(text in line.lower() for text in _OUT_OF_MEMORY)]
        if not reasons:
            raise
        raise DeviceMemoryError(reasons[0].strip()[-200:]) from None  # the reason is at the end of a long line
