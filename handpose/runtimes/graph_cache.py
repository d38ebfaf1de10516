"""The cache of exported graphs."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from handpose.io.cache import cache_folder, cached
from handpose.io.choices import Precision
from handpose.weights.folder import Weights

_Content = TypeVar("_Content")

GRAPH_VERSION = 3
"""Version of the graphs that `export` writes. Increase it when cached graphs are no longer correct."""

EXPORT_PACKAGES = {".onnx": ("onnxruntime", "onnx", "onnxscript"), ".xml": ("openvino",)}
"""Packages besides torch that export and run a graph, by the extension of its file."""

QUANTIZATION_PACKAGES = ("onnxruntime", "onnx")
"""Packages that quantize a graph."""

_log = logging.getLogger(__name__)


def cached_graph(
    weights: Weights, suffix: str, load: Callable[[Path], _Content], precision: Precision = "float32"
) -> _Content:
    """Load the exported graph of the weights, after exporting it if it is not in the cache or is damaged.

    When an 8-bit graph is exported, its loss of accuracy is logged.

    Args:
        weights: Weights of the pose network.
        suffix: `.onnx` or `.xml`.
        load: Loads the file.
        precision: Precision of the graph.

    Raises:
        HandPoseError: The graph cannot be exported.
        OSError: The cache cannot be read or written.

    Warns:
        UserWarning: The cached file is damaged.
    """
    parts = {
        "version": GRAPH_VERSION,
        "precision": precision,
        "made_by": {package: _version(package) for package in ("torch", *EXPORT_PACKAGES[suffix])},
        "config": weights.config.to_dict(),
        "weights": weights.sha256,
    }
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    file = cache_folder() / "graphs" / f"{key}{suffix}"

    def make() -> None:
        from handpose.runtimes.export import export

        exported = export(weights, file, int8=precision == "int8", force=True)
        if exported.int8_error_mm is not None:
            before, after = exported.int8_error_mm
            _log.info(
                "%s: 8-bit quantization changes the mean joint error on synthetic crops from %.2f to %.2f mm",
                weights.name,
                before,
                after,
            )

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
