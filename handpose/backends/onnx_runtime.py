"""The network as an ONNX graph, run by ONNX Runtime on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from handpose.backends.base import METADATA_KEY, threads
from handpose.errors import WeightsError


class OnnxRuntimeBackend:
    """ONNX Runtime, a `GraphBackend`.

    Args:
        file: an ONNX graph.

    Raises:
        WeightsError: it cannot be loaded.
    """

    def __init__(self, file: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors; warnings are about the graph's form, which no caller can change
        options.intra_op_num_threads = threads()
        try:
            self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions have no base of their own
            reason = str(error).splitlines()[0]
            raise WeightsError(f"{file}: ONNX Runtime cannot load it ({reason}); export it again") from None
        self.metadata = self._session.get_modelmeta().custom_metadata_map.get(METADATA_KEY, "")

    def __call__(self, patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `Backend` says."""
        uvz, spread = self._session.run(["uvz", "spread"], {"patches": patches})
        return uvz, spread
