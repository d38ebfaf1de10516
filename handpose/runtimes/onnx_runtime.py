"""Runs the networks in ONNX Runtime, on the CPU."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from handpose.errors import WeightsError
from handpose.localization.network import GRAPH_FILE
from handpose.runtimes.base import METADATA_KEY, OUTPUTS, GraphRuntime, convert_out_of_memory, graph_name, max_threads

if TYPE_CHECKING:
    import onnxruntime

_MIN_BATCH = 8  # patches; with so many, the time to wake a sleeping thread does not matter
_PER_THREAD = 6  # patches that a thread processes at once: the features of more patches do not fit into its cache


class OnnxRuntime(GraphRuntime):
    """ONNX Runtime with a graph of the pose network.

    Args:
        graph: ONNX graph of the pose network, or its file.

    Raises:
        WeightsError: The graph cannot be loaded.
    """

    def __init__(self, graph: Path | bytes) -> None:
        self._name = graph_name(graph)
        # The second session is loaded later, when the file may contain another graph or be deleted.
        self._graph = graph if isinstance(graph, bytes) else _read(graph)
        self._single = _load(self._graph, self._name, max_threads())
        self._part = _PER_THREAD * (max_threads() or os.cpu_count() or 1)
        self._localizer = _load(GRAPH_FILE.read_bytes(), str(GRAPH_FILE), 1)  # too small for more threads
        self.metadata = self._single.get_modelmeta().custom_metadata_map.get(METADATA_KEY, "")

    def pose(self, patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `Runtime`."""
        uvz, spread = self._run(OUTPUTS[:2], patches)
        return uvz, spread

    def pose_and_features(self, patches: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """See `Runtime`."""
        if len(self._single.get_outputs()) < len(OUTPUTS):
            return super().pose_and_features(patches)
        uvz, spread, features = self._run(OUTPUTS, patches)
        return uvz, spread, features

    def _run(self, outputs: tuple[str, ...], patches: np.ndarray) -> list[np.ndarray]:
        session = self._single if len(patches) < _MIN_BATCH else self._batch
        parts = (patches[start : start + self._part] for start in range(0, len(patches), self._part))
        with convert_out_of_memory():
            results = [session.run(outputs, {"patches": part}) for part in parts]
        return results[0] if len(results) == 1 else list(map(np.concatenate, zip(*results, strict=True)))

    def votes(self, channels: np.ndarray) -> np.ndarray:
        """See `Runtime`."""
        with convert_out_of_memory():
            votes: np.ndarray = self._localizer.run(["votes"], {"channels": channels})[0]
        return votes

    @functools.cached_property
    def _batch(self) -> onnxruntime.InferenceSession:
        """The pose network for batches: its threads sleep while they wait, and leave the cores to threads that read."""
        return _load(self._graph, self._name, max_threads(), spin=False)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise WeightsError(f"{file}: cannot be read ({error})") from None


def _load(graph: bytes, name: str, threads: int, *, spin: bool = True) -> onnxruntime.InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors; users cannot act on warnings about the form of the graph
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spin)))
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the exceptions of ONNX Runtime have no common base class
        reason = str(error).splitlines()[0]
        raise WeightsError(f"{name}: ONNX Runtime cannot load it ({reason}); export it again") from None
