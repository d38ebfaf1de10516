"""Selects and loads the runtime for a set of weights."""

from __future__ import annotations

import base64
import ctypes
import importlib
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, get_args

from handpose.errors import HandPoseError, WeightsError
from handpose.io.arguments import check_choice, check_kind
from handpose.io.choices import BackendName, Precision
from handpose.io.warn import warn
from handpose.network.config import JGRP2OConfig
from handpose.network.heads import Heads
from handpose.runtimes.base import BIN_KEY, HEADS_KEY, GraphRuntime, Runtime
from handpose.runtimes.graph_cache import EXPORT_PACKAGES, QUANTIZATION_PACKAGES, cached_graph
from handpose.runtimes.onnx_runtime import OnnxRuntime
from handpose.runtimes.openvino_runtime import OpenVinoRuntime
from handpose.runtimes.pytorch import TorchRuntime
from handpose.runtimes.templates import fill_template, has_template
from handpose.weights.folder import Weights, file_sha256
from handpose.weights.heads_file import read_heads


class _GraphBackend(NamedTuple):
    """A backend that runs exported graphs: the extension of their files, their runtime, and the extra to install."""

    suffix: str
    load: Callable[[Path | bytes], GraphRuntime]
    extra: str


_GRAPH_BACKENDS: dict[BackendName, _GraphBackend] = {
    "onnxruntime": _GraphBackend(".onnx", OnnxRuntime, "onnx"),
    "openvino": _GraphBackend(".xml", OpenVinoRuntime, "openvino"),
}
GRAPH_SUFFIXES = tuple(backend.suffix for backend in _GRAPH_BACKENDS.values())
"""Extensions of the files that `handpose export` writes."""


def installed_backends() -> list[BackendName]:
    """Return the backends that can run on this machine, the fastest on a CPU first."""
    return [*(name for name in _GRAPH_BACKENDS if _installed(name)), "torch"]


def load_runtime(weights: Weights, name: BackendName, device: str, precision: Precision = "float32") -> Runtime:
    """Load weights into the runtime of a backend.

    ONNX Runtime and OpenVINO run a graph. The graph of a network with other dimensions than the default ones, and an
    8-bit graph, are exported on first use and then cached.

    Args:
        weights: Weights of the pose network.
        name: Backend; `auto` is torch on a GPU and the fastest installed backend on a CPU.
        device: `auto` (a CUDA GPU if available), `cpu`, `cuda`, `cuda:1`, ...
        precision: Precision of the network; `int8` always runs on the CPU.

    Raises:
        HandPoseError: The backend is unknown, not installed or cannot be imported, the device is not available, or the
            backend does not have this precision.

    Warns:
        UserWarning: With `auto`, a faster backend is installed, but cannot be imported.
    """
    _check_names(name, device, precision)
    if name == "auto":
        name = _fastest(weights.config, device, precision)
    if name == "torch":
        if precision == "int8":
            raise HandPoseError(
                "precision int8 requires backend onnxruntime or openvino: pip install 'handpose[onnx]', or use float32"
            )
        return TorchRuntime(weights, device)
    _check(name, device)
    backend = _GRAPH_BACKENDS[name]
    graph = fill_template(weights) if precision == "float32" else None
    return backend.load(graph) if graph is not None else cached_graph(weights, backend.suffix, backend.load, precision)


def _check_names(name: str, device: str, precision: str) -> None:
    check_choice("backend", name, get_args(BackendName))
    check_choice("precision", precision, get_args(Precision))
    check_kind("device", device, str, "auto, cpu, cuda, cuda:1, ... or mps")


def _fastest(config: JGRP2OConfig, device: str, precision: Precision) -> BackendName:
    """Return the fastest installed backend that can run a network on a device.

    Warns:
        UserWarning: A faster one is installed, but cannot be imported.
    """
    if precision == "float32" and (device not in ("auto", "cpu") or (device == "auto" and _has_gpu())):
        return "torch"
    for name, backend in _GRAPH_BACKENDS.items():
        needed: tuple[str, ...] = (name,)
        if not has_template(config):
            needed += EXPORT_PACKAGES[backend.suffix]
        if precision == "int8":
            needed += QUANTIZATION_PACKAGES
        if all(map(_installed, needed)):
            if not (problem := _import_problem(name)):
                return name
            warn(f"{problem}; until then, a slower backend is used")
    return "torch"


def load_graph(
    file: Path, name: BackendName, device: str, precision: Precision = "float32"
) -> tuple[Runtime, JGRP2OConfig, str, Heads | None]:
    """Load a file that `handpose export` wrote.

    Args:
        file: File with one of `GRAPH_SUFFIXES`.
        name: `auto`, or the backend that runs such files.
        device: `auto` or `cpu`.
        precision: `int8` requires a file that was exported with `int8=True`; `float32` allows both.

    Returns:
        The runtime, and the configuration, the name and, if there are any, the heads of the weights.

    Raises:
        HandPoseError: The file runs with another backend or device or has another precision, or its backend is not
            installed.
        WeightsError: The file does not exist, `handpose export` did not write it, or the `.bin` file next to it belongs
            to another one.
    """
    _check_names(name, device, precision)
    own = next(own for own, backend in _GRAPH_BACKENDS.items() if backend.suffix == file.suffix.lower())
    if name not in ("auto", own):
        raise HandPoseError(f"{file}: runs with backend {own} or auto, got {name!r}")
    _check(own, device)
    if not file.is_file():
        raise WeightsError(f"{file}: no such file; expected a file that handpose export wrote")
    runtime = _GRAPH_BACKENDS[own].load(file)
    try:
        values = json.loads(runtime.metadata)
        config, label = JGRP2OConfig.from_dict(values["config"]), str(values["name"])
        stored = values.get(HEADS_KEY)
        tensors = values.get(BIN_KEY)
        heads = None if stored is None else read_heads(base64.b64decode(stored), config, "")
    except (ValueError, KeyError, TypeError, WeightsError):
        raise WeightsError(
            f"{file}: contains no valid configuration; expected a file that handpose export wrote"
        ) from None
    if tensors is not None and tensors != file_sha256(file.with_suffix(".bin")):
        raise WeightsError(f"{file}: the .bin file next to it belongs to another export; copy both files again")
    if precision == "int8" and not label.endswith("-int8"):
        raise HandPoseError(f"{file}: is float32, got precision int8; export it with `int8=True`")
    return runtime, config, label, heads


def _check(name: BackendName, device: str) -> None:
    if not _installed(name):
        raise HandPoseError(
            f"backend {name} is not installed; pip install 'handpose[{_GRAPH_BACKENDS[name].extra}]', or use torch"
        )
    if problem := _import_problem(name):
        raise HandPoseError(f"{problem}, or use torch")
    if device not in ("auto", "cpu"):
        raise HandPoseError(f"backend {name} runs on the CPU, got device {device!r}; use backend torch for GPUs")


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _import_problem(name: BackendName) -> str:
    """Return why an installed backend cannot be imported and how to fix it, or an empty string."""
    try:
        importlib.import_module(name)
    except Exception as error:  # besides ImportError, whatever an incompatible version of numpy causes
        reason = " ".join(str(error).split())[:200]
        return f"backend {name} is installed but cannot be imported ({reason}); install its missing dependencies"
    return ""


def _has_gpu() -> bool:
    """Return whether torch can use a GPU. Without a driver, the slow import of torch is avoided."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    import torch

    return torch.cuda.is_available()
