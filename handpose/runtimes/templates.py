"""Builds the graph of the pose network without PyTorch, by inserting weights into a template.

The package contains one template per joint layout: the ONNX graph that the exporter writes for the network's default
dimensions, without its weights. Concatenated protobuf messages are merged by every parser, so a graph is the template
followed by a message with the weights.
"""

from __future__ import annotations

import functools
import io
import json
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from handpose.network.config import JGRP2OConfig
from handpose.weights.folder import Weights

TEMPLATES_FILE = Path(__file__).with_name("templates.zip")
"""The templates: `LAYOUT.onnx`, and `LAYOUT.json` with the shape of each tensor in the weights file."""

_VARIANCE = ".running_var"
_EPSILON = 1e-5  # of BatchNorm


def fill_template(weights: Weights) -> bytes | None:
    """Return the ONNX graph of the pose network, or None if its dimensions are not the default ones.

    It is also None if the tensors in the weights file are not those of the network; `Weights.load` explains why.
    """
    if not has_template(weights.config):
        return None
    template, shapes = _template(weights.config.layout)
    tensors = _read_tensors(weights.model_file, shapes)
    if tensors is None:
        return None
    initializers = b"".join(_field(5, _tensor(name, value)) for name, value in _fold(tensors).items())
    return template + _field(7, initializers)


def add_metadata(graph: bytes, key: str, value: str) -> bytes:
    """Return the graph with an additional metadata entry."""
    return graph + _field(14, _field(1, key.encode()) + _field(2, value.encode()))


def has_template(config: JGRP2OConfig) -> bool:
    """Return whether the package contains a template for a network of this configuration."""
    default = JGRP2OConfig(config.layout)
    return all(getattr(config, name) == getattr(default, name) for name in ("stacks", "features", "graph", "voting"))


@functools.cache
def _template(layout: str) -> tuple[bytes, dict[str, list[int]]]:
    with zipfile.ZipFile(TEMPLATES_FILE) as file:
        return file.read(f"{layout}.onnx"), json.loads(file.read(f"{layout}.json"))


def pack_templates(templates: Mapping[str, tuple[bytes, Mapping[str, Iterable[int]]]]) -> bytes:
    """Return the content of `TEMPLATES_FILE`, given the template and the shapes of the tensors by layout."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        for layout, (template, shapes) in templates.items():
            lists = {name: list(shape) for name, shape in shapes.items()}
            for suffix, data in ((".onnx", template), (".json", json.dumps(lists).encode())):
                entry = zipfile.ZipInfo(layout + suffix)  # has a constant date, so equal templates yield equal files
                entry.compress_type = zipfile.ZIP_DEFLATED
                file.writestr(entry, data)
    return content.getvalue()


def _read_tensors(file: Path, shapes: Mapping[str, list[int]]) -> dict[str, np.ndarray] | None:
    """Read the tensors, or return None unless they have exactly these names and shapes and only valid values."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "numpy") as stored:
            names = [name for name in stored.keys() if not name.endswith("num_batches_tracked")]  # noqa: SIM118
            headers = {name: stored.get_slice(name) for name in names}
            if {name: header.get_shape() for name, header in headers.items()} != shapes:
                return None
            if not all(header.get_dtype() in ("F16", "F32", "F64") for header in headers.values()):
                return None
            tensors = {name: stored.get_tensor(name).astype(np.float64) for name in names}
    except (SafetensorError, OSError):
        return None
    for name, tensor in tensors.items():
        if not np.isfinite(tensor.astype(np.float32)).all() or (name.endswith(_VARIANCE) and (tensor < 0).any()):
            return None
    return tensors


def _fold(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Fold every BatchNorm into the preceding convolution, and transpose the matrices as in the graph."""
    folded = dict(tensors)
    for name in tensors:
        if name.endswith(_VARIANCE):
            norm = name.removesuffix(_VARIANCE)
            mean, variance, scale, bias = (
                folded.pop(f"{norm}.{part}") for part in ("running_mean", "running_var", "weight", "bias")
            )
            convolution = norm.removesuffix("bn") + "conv" if norm.endswith(".bn") else norm.removesuffix("1") + "0"
            scale = scale / np.sqrt(variance + _EPSILON)
            folded[f"{convolution}.weight"] = folded[f"{convolution}.weight"] * scale[:, None, None, None]
            folded[f"{convolution}.bias"] = bias - mean * scale
    return {name: np.float32(value.T if value.ndim == 2 else value) for name, value in folded.items()}


# A message is a sequence of fields. A field is its number and type, then a variable-length integer (type 0), or the
# length and the bytes of a text or a message (type 2). The numbers are those of onnx.proto.


def _tensor(name: str, values: np.ndarray) -> bytes:
    dims = b"".join(_varint(1 << 3) + _varint(size) for size in values.shape)
    float32 = _varint(2 << 3) + _varint(1)
    return dims + float32 + _field(8, name.encode()) + _field(9, values.astype("<f4").tobytes())


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    content = bytearray()
    while value > 127:
        content.append(value & 127 | 128)
        value >>= 7
    content.append(value)
    return bytes(content)
