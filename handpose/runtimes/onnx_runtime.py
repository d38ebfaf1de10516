"""The networks as ONNX graphs, run by ONNX Runtime on the CPU."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from handpose.errors import WeightsError
from handpose.localization.network import read_weights, votes_network
from handpose.runtimes.base import METADATA_KEY, own_memory_errors, threads

if TYPE_CHECKING:
    import onnxruntime
    from onnx import NodeProto

_MANY = 8  # patches, that take so long that waking a thread costs little


class OnnxRuntimeBackend:
    """ONNX Runtime, a `GraphBackend`.

    Args:
        file: an ONNX graph.

    Raises:
        WeightsError: it cannot be loaded.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._session = self._load(spin=True)
        self.metadata = self._session.get_modelmeta().custom_metadata_map.get(METADATA_KEY, "")

    def __call__(self, patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `Backend` says."""
        session = self._session if len(patches) < _MANY else self._polite
        with own_memory_errors():
            uvz, spread = session.run(["uvz", "spread"], {"patches": patches})
        return uvz, spread

    @functools.cached_property
    def _polite(self) -> onnxruntime.InferenceSession:
        """The same graph for batches, beside which others read files: its threads sleep while they wait."""
        return self._load(spin=False)

    def _load(self, *, spin: bool) -> onnxruntime.InferenceSession:
        try:
            return _session(str(self._file), threads(), spin=spin)
        except Exception as error:  # its exceptions have no base of their own
            reason = str(error).splitlines()[0]
            raise WeightsError(f"{self._file}: ONNX Runtime cannot load it ({reason}); export it again") from None


class OnnxRuntimeVotes:
    """The localiser's network, as `Votes` says, in the calling thread: it is too small for more."""

    def __init__(self) -> None:
        self._session = _session(_votes_graph(), 1)

    def __call__(self, channels: np.ndarray) -> np.ndarray:
        """As `Votes` says."""
        with own_memory_errors():
            votes: np.ndarray = self._session.run(None, {"channels": channels})[0]
        return votes


def _session(graph: str | bytes, threads: int, *, spin: bool = True) -> onnxruntime.InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors; warnings are about the graph's form, which no caller can change
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spin)))
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _votes_graph() -> bytes:
    """The localiser's network as an ONNX file."""
    from onnx import TensorProto, helper, numpy_helper

    nodes: list[NodeProto] = []
    constants = [numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "double")]

    class Feature:
        def __init__(self, operator: str, *inputs: str, **attributes: Any) -> None:
            self.name = f"{operator}{len(nodes)}"
            nodes.append(helper.make_node(operator, inputs, [self.name], **attributes))

        def __add__(self, other: Feature) -> Feature:
            return Feature("Add", self.name, other.name)

    def convolve(name: str, x: Feature, stride: int) -> Feature:
        for array, kind in zip(weights[name], ("weight", "bias"), strict=True):
            constants.append(numpy_helper.from_array(array, f"{name}.{kind}"))
        x = Feature("Conv", x.name, f"{name}.weight", f"{name}.bias", strides=[stride] * 2, pads=[1] * 4)
        return x if name == "votes" else Feature("Relu", x.name)

    def double(x: Feature) -> Feature:
        how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return Feature("Resize", x.name, "", "double", **how)

    weights = read_weights()
    votes = votes_network(Feature("Identity", "channels"), convolve, double)
    ends = ((TensorProto.FLOAT, "channels", 2), (TensorProto.FLOAT, votes.name, 4))
    channels, result = (helper.make_tensor_value_info(name, kind, [1, depth, None, None]) for kind, name, depth in ends)
    graph = helper.make_graph(nodes, "votes", [channels], [result], constants)
    opsets = [helper.make_opsetid("", 18)]
    model: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    return model
