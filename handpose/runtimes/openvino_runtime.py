"""Runs the networks in OpenVINO, on the CPU."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from handpose.errors import WeightsError
from handpose.localization.network import GRAPH_FILE
from handpose.runtimes.base import METADATA_KEY, OUTPUTS, GraphRuntime, convert_out_of_memory, graph_name, max_threads

if TYPE_CHECKING:
    import openvino


class OpenVinoRuntime(GraphRuntime):
    """OpenVINO with a graph of the pose network.

    Args:
        graph: ONNX graph of the pose network, or its `.xml` file, next to its `.bin` file.

    Raises:
        WeightsError: The graph cannot be loaded.
    """

    def __init__(self, graph: Path | bytes) -> None:
        self._pose, model = _load(graph, max_threads())
        self._localizer, _ = _load(GRAPH_FILE, 1)  # too small for more threads
        self.metadata = model.get_rt_info([METADATA_KEY]).value if model.has_rt_info([METADATA_KEY]) else ""
        self._pose_lock, self._localizer_lock = threading.Lock(), threading.Lock()  # a request runs one batch at a time

    def pose(self, patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `Runtime`."""
        with convert_out_of_memory(), self._pose_lock:
            results = self._pose.infer([patches], share_inputs=True)
            return results["uvz"], results["spread"]

    def pose_and_features(self, patches: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """See `Runtime`."""
        with convert_out_of_memory(), self._pose_lock:
            results = self._pose.infer([patches], share_inputs=True)
            return results["uvz"], results["spread"], results["features"] if len(results) == len(OUTPUTS) else None

    def votes(self, channels: np.ndarray) -> np.ndarray:
        """See `Runtime`."""
        with convert_out_of_memory(), self._localizer_lock:
            votes: np.ndarray = self._localizer.infer([channels], share_inputs=True)["votes"]
            return votes


def _load(graph: Path | bytes, threads: int) -> tuple[openvino.InferRequest, openvino.Model]:
    import openvino

    # By default, OpenVINO computes in bfloat16 where the processor supports it, which moves joints by millimeters.
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    core = openvino.Core()
    try:
        model = core.read_model(graph)
        return core.compile_model(model, "CPU", settings).create_infer_request(), model
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(f"{graph_name(graph)}: OpenVINO cannot load it ({reason}); export it again") from None
