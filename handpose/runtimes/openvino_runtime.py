"""The networks as OpenVINO graphs, run by OpenVINO on the CPU."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from handpose.errors import WeightsError
from handpose.localization.network import read_weights, votes_network
from handpose.runtimes.base import METADATA_KEY, own_memory_errors, threads

if TYPE_CHECKING:
    import openvino


class OpenVinoBackend:
    """OpenVINO, a `GraphBackend`.

    Args:
        file: a graph's `.xml`, with its `.bin` beside it.

    Raises:
        WeightsError: it cannot be loaded.
    """

    def __init__(self, file: Path) -> None:
        import openvino

        try:
            model = openvino.Core().read_model(file)
            self._request = _request(model, threads())
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise WeightsError(f"{file}: OpenVINO cannot load it ({reason}); export it again") from None
        self.metadata = model.get_rt_info([METADATA_KEY]).value if model.has_rt_info([METADATA_KEY]) else ""
        self._lock = threading.Lock()

    def __call__(self, patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `Backend` says."""
        with own_memory_errors(), self._lock:  # a request holds one batch at a time
            results = self._request.infer([patches], share_inputs=True)
            return results["uvz"], results["spread"]


class OpenVinoVotes:
    """The localiser's network, as `Votes` says, with one thread: it is too small for more."""

    def __init__(self) -> None:
        self._request = _request(_votes_graph(), 1)
        self._lock = threading.Lock()

    def __call__(self, channels: np.ndarray) -> np.ndarray:
        """As `Votes` says."""
        with own_memory_errors(), self._lock:
            votes: np.ndarray = self._request.infer([channels], share_inputs=True)[0]
            return votes


def _request(model: openvino.Model, threads: int) -> openvino.InferRequest:
    import openvino

    # Without a say, OpenVINO takes bfloat16 where the processor has it, which moves joints by millimetres.
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    return openvino.Core().compile_model(model, "CPU", settings).create_infer_request()


def _votes_graph() -> openvino.Model:
    """The localiser's network."""
    import openvino
    from openvino import opset13 as operators

    def convolve(name: str, x: openvino.Node, stride: int) -> openvino.Node:
        kernel, bias = weights[name]
        x = operators.convolution(x, kernel, [stride] * 2, [1, 1], [1, 1], [1, 1]) + bias[:, None, None]
        return x if name == "votes" else operators.relu(x)

    def double(x: openvino.Node) -> openvino.Node:
        return operators.interpolate(
            *(x, np.array([2.0, 2.0], np.float32), "nearest", "scales"),
            axes=np.array([2, 3]),
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )

    weights = read_weights()
    channels = operators.parameter([1, 2, -1, -1], np.float32)
    return openvino.Model([votes_network(channels, convolve, double)], [channels], "votes")
