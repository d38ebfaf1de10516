"""Which runtime runs which weights."""

from __future__ import annotations

import ctypes
import hashlib
import importlib.metadata
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar, get_args

from handpose.errors import HandPoseError, WeightsError
from handpose.io.cache import cache_folder, cached
from handpose.localization.network import Votes
from handpose.localization.numpy_runtime import votes_in_numpy
from handpose.network.config import JGRP2OConfig
from handpose.runtimes.base import Backend, BackendName, GraphBackend
from handpose.runtimes.onnx_runtime import OnnxRuntimeBackend, OnnxRuntimeVotes
from handpose.runtimes.openvino_runtime import OpenVinoBackend, OpenVinoVotes
from handpose.runtimes.pytorch import TorchBackend, torch_votes
from handpose.weights.folder import Weights

_Loaded = TypeVar("_Loaded")


class _Runtime(NamedTuple):
    """A runtime of exported graphs: their files' suffix, what loads them, and what making and running them needs."""

    suffix: str
    load: Callable[[Path], GraphBackend]
    votes: Callable[[], Votes]
    extra: str
    packages: tuple[str, ...]


_RUNTIMES: dict[BackendName, _Runtime] = {
    "onnxruntime": _Runtime(
        ".onnx", OnnxRuntimeBackend, OnnxRuntimeVotes, "onnx", ("onnxruntime", "onnx", "onnxscript")
    ),
    "openvino": _Runtime(".xml", OpenVinoBackend, OpenVinoVotes, "openvino", ("openvino",)),
}
GRAPH_SUFFIXES = tuple(runtime.suffix for runtime in _RUNTIMES.values())
"""The endings of files that `handpose export` writes."""


def installed_backends() -> list[BackendName]:
    """The backends that can run here, the fastest on a CPU first."""
    return [*(name for name, runtime in _RUNTIMES.items() if all(map(_installed, runtime.packages))), "torch"]


def load_backend(weights: Weights, name: BackendName, device: str) -> Backend:
    """The backend of that name with these weights.

    ONNX Runtime and OpenVINO run an exported graph, which is made the first time and kept in the cache.

    Args:
        weights: what to load.
        name: `auto` (torch on a GPU, else the fastest that is installed), or which.
        device: `auto` (a CUDA GPU if there is one), `cpu`, `cuda`, `cuda:1`, ...

    Raises:
        HandPoseError: unknown backend, it is not installed, or the device is not there.
    """
    name = chosen_backend(name, device)
    if name == "torch":
        return TorchBackend(weights, device)
    _check(name, device)
    runtime = _RUNTIMES[name]
    return cached_graph(weights, runtime.suffix, runtime.load)


def load_votes(name: BackendName, device: str) -> Votes:
    """The localiser's network in the runtime of that name, or in numpy if what it takes to make the graph is missing.

    Args:
        name: as in `load_backend`, like `device` and the errors.
        device: see `name`.
    """
    name = chosen_backend(name, device)
    if name == "torch":
        return torch_votes(device)
    runtime = _RUNTIMES[name]
    return runtime.votes() if all(map(_installed, runtime.packages)) else votes_in_numpy


def chosen_backend(name: BackendName, device: str) -> BackendName:
    """What `name` stands for on this machine, if it is `auto`.

    Raises:
        HandPoseError: unknown backend.
    """
    if name not in get_args(BackendName):
        raise HandPoseError(f"backend must be {', '.join(get_args(BackendName))}, got {name!r}")
    if name != "auto":
        return name
    on_cpu = device == "cpu" or (device == "auto" and not _has_gpu())
    return installed_backends()[0] if on_cpu else "torch"


def backend_of(file: Path) -> BackendName:
    """What runs a file that `handpose export` wrote."""
    return next(own for own, runtime in _RUNTIMES.items() if runtime.suffix == file.suffix.lower())


def load_graph(file: Path, name: BackendName, device: str) -> tuple[Backend, JGRP2OConfig, str]:
    """The backend for a file that `handpose export` wrote, and its weights' config and name.

    Raises:
        HandPoseError: another backend or device is asked for, or the runtime is not installed.
        WeightsError: the file was not written by `handpose export`.
    """
    own = backend_of(file)
    if name not in ("auto", own):
        raise HandPoseError(f"{file}: runs with backend {own} or auto, got {name!r}")
    _check(own, device)
    if not file.is_file():
        raise WeightsError(f"{file}: no such file; expected one that handpose export wrote")
    backend = _RUNTIMES[own].load(file)
    try:
        values = json.loads(backend.metadata)
        return backend, JGRP2OConfig.from_dict(values["config"]), str(values["name"])
    except (ValueError, KeyError, TypeError, WeightsError):
        raise WeightsError(f"{file}: does not say which network it holds; expected a file of handpose export") from None


def _check(name: BackendName, device: str) -> None:
    if not _installed(name):
        raise HandPoseError(
            f"backend {name} is not installed; pip install 'handpose[{_RUNTIMES[name].extra}]', or use torch"
        )
    if device not in ("auto", "cpu"):
        raise HandPoseError(f"backend {name} runs on the CPU, got device {device!r}; use backend torch there")


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _has_gpu() -> bool:
    """Whether torch can use a GPU. Without a driver torch is not asked: importing it takes a second."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    import torch

    return torch.cuda.is_available()


_GRAPH_VERSION = 1  # of what `export` writes: to be raised when graphs made before are no longer right


def cached_graph(weights: Weights, suffix: str, load: Callable[[Path], _Loaded]) -> _Loaded:
    """What `load` makes of the weights' exported graph, which is made now if it is not in the cache or damaged."""
    packages = ("torch", *next(runtime.packages for runtime in _RUNTIMES.values() if runtime.suffix == suffix))
    parts = {
        "version": _GRAPH_VERSION,
        "made_by": {package: _version(package) for package in packages},
        "config": weights.config.to_dict(),
        "weights": weights.sha256,
    }
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    file = cache_folder() / "graphs" / f"{key}{suffix}"

    def make() -> None:
        from handpose.runtimes.export import export

        export(weights, file)

    def read(file: Path) -> _Loaded:
        file.stat()  # runtimes do not tell a file that is not there from a damaged one
        return load(file)

    return cached(file, make, read)


def _version(package: str) -> str:
    """The version of an installed package, whichever distribution it comes from, such as `onnxruntime-gpu`."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        names = importlib.metadata.packages_distributions().get(package, [])
        return " ".join(f"{name} {importlib.metadata.version(name)}" for name in sorted(set(names)))
