"""The cache of exported graphs."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from handpose.io.cache import cache_folder, cached
from handpose.weights.folder import Weights

_Content = TypeVar("_Content")

GRAPH_VERSION = 1
"""Version of the graphs that `export` writes. Increase it when cached graphs are no longer correct."""

GRAPH_PACKAGES = {".onnx": ("onnxruntime", "onnx", "onnxscript"), ".xml": ("openvino",)}
"""Packages besides torch that export and run a graph, by the extension of its file."""


def cached_graph(weights: Weights, suffix: str, load: Callable[[Path], _Content]) -> _Content:
    """Load the exported graph of the weights, after exporting it if it is not in the cache or is damaged.

    Args:
        weights: Weights of the pose network.
        suffix: `.onnx` or `.xml`.
        load: Loads the file.

    Raises:
        HandPoseError: The graph cannot be exported.
        OSError: The cache cannot be read or written.

    Warns:
        UserWarning: The cached file is damaged.
    """
    parts = {
        "version": GRAPH_VERSION,
        "made_by": {package: _version(package) for package in ("torch", *GRAPH_PACKAGES[suffix])},
        "config": weights.config.to_dict(),
        "weights": weights.sha256,
    }
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    file = cache_folder() / "graphs" / f"{key}{suffix}"

    def make() -> None:
        from handpose.runtimes.export import export

        export(weights, file)

    def read(file: Path) -> _Content:
        file.stat()  # raises FileNotFoundError, which runtimes do not distinguish from damage
        return load(file)

    return cached(file, make, read)


def _version(package: str) -> str:
    """Return the version of an installed package from any distribution, such as `onnxruntime-gpu`."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        names = importlib.metadata.packages_distributions().get(package, [])
        return " ".join(f"{name} {importlib.metadata.version(name)}" for name in sorted(set(names)))
