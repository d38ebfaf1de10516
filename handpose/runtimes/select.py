"""Selects and loads the runtime for a set of weights."""

from __future__ import annotations

import ctypes
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, get_args

from handpose.errors import HandPoseError, WeightsError
from handpose.io.choices import BackendName
from handpose.network.config import JGRP2OConfig
from handpose.runtimes.base import GraphRuntime, Runtime
from handpose.runtimes.graph_cache import GRAPH_PACKAGES, cached_graph
from handpose.runtimes.onnx_runtime import OnnxRuntime
from handpose.runtimes.openvino_runtime import OpenVinoRuntime
from handpose.runtimes.pytorch import TorchRuntime
from handpose.weights.folder import Weights


class _GraphBackend(NamedTuple):
    """A backend that runs exported graphs: the extension of their files, their runtime, and the extra to install."""

    suffix: str
    load: Callable[[Path], GraphRuntime]
    extra: str


_GRAPH_BACKENDS: dict[BackendName, _GraphBackend] = {
    "onnxruntime": _GraphBackend(".onnx", OnnxRuntime, "onnx"),
    "openvino": _GraphBackend(".xml", OpenVinoRuntime, "openvino"),
}
GRAPH_SUFFIXES = tuple(backend.suffix for backend in _GRAPH_BACKENDS.values())
"""Extensions of the files that `handpose export` writes."""


def installed_backends() -> list[BackendName]:
    """Return the backends that can run on this machine, the fastest on a CPU first."""
    graphs = (name for name, backend in _GRAPH_BACKENDS.items() if all(map(_installed, GRAPH_PACKAGES[backend.suffix])))
    return [*graphs, "torch"]


def load_runtime(weights: Weights, name: BackendName, device: str) -> Runtime:
    """Load weights into the runtime of a backend.

    ONNX Runtime and OpenVINO run an exported graph, which is exported on first use and then cached.

    Args:
        weights: Weights of the pose network.
        name: Backend; `auto` is torch on a GPU and the fastest installed backend on a CPU.
        device: `auto` (a CUDA GPU if available), `cpu`, `cuda`, `cuda:1`, ...

    Raises:
        HandPoseError: The backend is unknown or not installed, or the device is not available.
    """
    if name not in get_args(BackendName):
        raise HandPoseError(f"backend must be {', '.join(get_args(BackendName))}, got {name!r}")
    if name == "auto":
        on_cpu = device == "cpu" or (device == "auto" and not _has_gpu())
        name = installed_backends()[0] if on_cpu else "torch"
    if name == "torch":
        return TorchRuntime(weights, device)
    _check(name, device)
    backend = _GRAPH_BACKENDS[name]
    return cached_graph(weights, backend.suffix, backend.load)


def load_graph(file: Path, name: BackendName, device: str) -> tuple[Runtime, JGRP2OConfig, str]:
    """Load a file that `handpose export` wrote.

    Args:
        file: File with one of `GRAPH_SUFFIXES`.
        name: `auto`, or the backend that runs such files.
        device: `auto` or `cpu`.

    Returns:
        The runtime, and the configuration and the name of the weights.

    Raises:
        HandPoseError: The file runs with another backend or device, or its backend is not installed.
        WeightsError: The file does not exist, or `handpose export` did not write it.
    """
    own = next(own for own, backend in _GRAPH_BACKENDS.items() if backend.suffix == file.suffix.lower())
    if name not in ("auto", own):
        raise HandPoseError(f"{file}: runs with backend {own} or auto, got {name!r}")
    _check(own, device)
    if not file.is_file():
        raise WeightsError(f"{file}: no such file; expected a file that handpose export wrote")
    runtime = _GRAPH_BACKENDS[own].load(file)
    try:
        values = json.loads(runtime.metadata)
        return runtime, JGRP2OConfig.from_dict(values["config"]), str(values["name"])
    except (ValueError, KeyError, TypeError, WeightsError):
        raise WeightsError(
            f"{file}: contains no valid configuration; expected a file that handpose export wrote"
        ) from None


def _check(name: BackendName, device: str) -> None:
    if not _installed(name):
        raise HandPoseError(
            f"backend {name} is not installed; pip install 'handpose[{_GRAPH_BACKENDS[name].extra}]', or use torch"
        )
    if device not in ("auto", "cpu"):
        raise HandPoseError(f"backend {name} runs on the CPU, got device {device!r}; use backend torch for GPUs")


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _has_gpu() -> bool:
    """Return whether torch can use a GPU. Without a driver, the slow import of torch is avoided."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    import torch

    return torch.cuda.is_available()
