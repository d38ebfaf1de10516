"""The network as an OpenVINO graph, run by OpenVINO on the CPU."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np

from handpose.backends.base import METADATA_KEY, threads
from handpose.errors import WeightsError


class OpenVinoBackend:
    """OpenVINO, a `GraphBackend`.

    Args:
        file: a graph's `.xml`, with its `.bin` beside it.

    Raises:
        WeightsError: it cannot be loaded.
    """

    def __init__(self, file: Path) -> None:
        import openvino

        # Without a say, OpenVINO takes bfloat16 where the processor has it, which moves joints by millimetres.
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads(),
        }
        try:
            core = openvino.Core()
            model = core.read_model(file)
            self._request = core.compile_model(model, "CPU", settings).create_infer_request()
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise WeightsError(f"{file}: OpenVINO cannot load it ({reason}); export it again") from None
        self.metadata = model.get_rt_info([METADATA_KEY]).value if model.has_rt_info([METADATA_KEY]) else ""
        self._lock = threading.Lock()

    def __call__(self, patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `Backend` says."""
        with self._lock:  # a request holds one batch at a time
            results = self._request.infer([patches], share_inputs=True)
            return results["uvz"], results["spread"]
