"""The original authors' TensorFlow 1 checkpoint, read without TensorFlow.

A checkpoint is two files. `PREFIX.index` is a sorted string table (the LevelDB format): blocks of
prefix-compressed key/value pairs, found through an index block whose handle stands in a 48-byte footer.
Each value is a small protocol buffer saying where in `PREFIX.data-00000-of-00001` a tensor lies, its
type, shape and masked crc32c. Both formats are public (LevelDB's table format, TensorFlow's tensor bundle).
"""

from __future__ import annotations

import json
import math
import shutil
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from handpose.errors import WeightsError
from handpose.network.config import JGRP2OConfig
from handpose.weights.registry import CONFIG_FILE, MODEL_FILE

_TABLE_MAGIC = 0xDB4775248B80FB57
_FOOTER_BYTES = 48
_BLOCK_TRAILER_BYTES = 5  # one byte of compression type, four of checksum
_DT_FLOAT = 1
_LARGEST_INDEX, _LARGEST_DATA, _LONGEST_KEY = 1 << 20, 1 << 26, 1 << 10  # bytes; the original's are far smaller


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)  # Castagnoli, reflected
        table.append(crc)
    return tuple(table)


_CRC_TABLE = _crc_table()


def crc32c(data: bytes) -> int:
    """The CRC-32C (Castagnoli) of `data`."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC_TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _masked(crc: int) -> int:
    # LevelDB and TensorFlow store checksums rotated and offset, so that a checksum of checksums stays sound.
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number runs past 64 bits")


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The (field number, value) pairs of one protocol buffer message."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        value: int | bytes
        if kind == 0:
            value, at = _varint(data, at)
        elif kind == 2:
            size, at = _varint(data, at)
            value, at = data[at : at + size], at + size
        elif kind == 5:
            value, at = struct.unpack_from("<I", data, at)[0], at + 4
        elif kind == 1:
            value, at = struct.unpack_from("<Q", data, at)[0], at + 8
        else:
            raise ValueError(f"wire type {kind} is not part of this format")
        if at > len(data):
            raise ValueError("a field runs past its message")
        yield tag >> 3, value


def _block(table: bytes, handle: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The (key, value) pairs of the table block that `handle` (offset, size) points to."""
    offset, at = _varint(handle, 0)
    size, _ = _varint(handle, at)
    body = table[offset : offset + size]
    trailer = table[offset + size : offset + size + _BLOCK_TRAILER_BYTES]
    if len(trailer) != _BLOCK_TRAILER_BYTES:
        raise ValueError("a block runs past the end of the file")
    if trailer[0] != 0:
        raise ValueError("the table is compressed, which TensorFlow's own writer never does")
    if _masked(crc32c(body + trailer[:1])) != struct.unpack("<I", trailer[1:])[0]:
        raise ValueError("a block's checksum is wrong")
    end = size - 4 - 4 * struct.unpack("<I", body[-4:])[0]  # behind the entries: restart points, their count
    key, at = b"", 0
    while at < end:
        shared, at = _varint(body, at)
        fresh, at = _varint(body, at)
        length, at = _varint(body, at)
        if shared + fresh > _LONGEST_KEY or at + fresh + length > end:
            raise ValueError("an entry runs past its block")
        key = key[:shared] + body[at : at + fresh]
        yield key, body[at + fresh : at + fresh + length]
        at += fresh + length


@dataclass(frozen=True)
class _Entry:
    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc: int


def _entry(message: bytes) -> _Entry:
    numbers = {1: 0, 3: 0, 4: 0, 5: 0, 6: 0}  # dtype, shard, offset, size, crc
    shape: list[int] = []
    for field, value in _fields(message):
        if field == 2 and isinstance(value, bytes):
            for axis_field, axis in _fields(value):
                if axis_field == 2 and isinstance(axis, bytes):
                    shape.append(next((int(n) for f, n in _fields(axis) if f == 1), 0))
        elif field in numbers and isinstance(value, int):
            numbers[field] = value
    return _Entry(numbers[1], tuple(shape), numbers[3], numbers[4], numbers[5], numbers[6])


def _read_index(path: Path) -> dict[str, _Entry]:
    table = path.read_bytes()
    if len(table) < _FOOTER_BYTES or struct.unpack("<Q", table[-8:])[0] != _TABLE_MAGIC:
        raise WeightsError(
            f"{path}: expected a TensorFlow checkpoint index, got {len(table)} bytes without its closing mark; "
            "the file is cut short or something else"
        )
    try:
        footer = table[-_FOOTER_BYTES:]
        at = 0
        for _ in range(2):  # over the handle of the meta-index block, which is empty
            _, at = _varint(footer, at)
        entries = [pair for _, handle in _block(table, footer[at:]) for pair in _block(table, handle)]
        # The empty key holds the bundle's header.
        return {key.decode(): _entry(value) for key, value in entries if key}
    except (ValueError, IndexError, struct.error) as error:
        raise WeightsError(f"{path}: damaged checkpoint index ({error}); copy the file again") from None


def read_variables(prefix: str | Path) -> dict[str, np.ndarray]:
    """Every variable of a TensorFlow checkpoint, checked against its stored crc32c.

    Args:
        prefix: the checkpoint's path without `.index` / `.data-00000-of-00001`.

    Returns:
        float32 arrays by variable name, in TensorFlow's axis order (kernels: height, width, in, out).

    Raises:
        WeightsError: a file is missing, cut short, damaged, or holds anything but float32.
    """
    index_path, data_path = Path(f"{prefix}.index"), Path(f"{prefix}.data-00000-of-00001")
    for path in (index_path, data_path):
        if not path.is_file():
            raise WeightsError(f"{path}: no such file; give the checkpoint's path without .index or .data-...")
    for path, largest in ((index_path, _LARGEST_INDEX), (data_path, _LARGEST_DATA)):
        if path.stat().st_size > largest:
            raise WeightsError(f"{path}: {path.stat().st_size} bytes; the original JGR-P2O checkpoint is far smaller")
    entries = _read_index(index_path)
    data = data_path.read_bytes()
    if sum(entry.size for entry in entries.values()) > len(data):
        raise WeightsError(f"{data_path}: {len(data)} bytes do not hold what {index_path.name} lists; it is cut short")
    variables = {}
    for name, entry in entries.items():
        if entry.dtype != _DT_FLOAT or entry.shard != 0 or len(entry.shape) > 4 or 0 in entry.shape:
            raise WeightsError(
                f"{index_path}: {name!r:.100} is not a float32 tensor of a one-file checkpoint; "
                "expected the original JGR-P2O checkpoint"
            )
        raw = data[entry.offset : entry.offset + entry.size]
        if len(raw) != entry.size or entry.size != 4 * math.prod(entry.shape):
            raise WeightsError(
                f"{data_path}: {name} needs {4 * math.prod(entry.shape)} bytes at {entry.offset}, "
                f"got {len(raw)}; the file is cut short or belongs to another index"
            )
        if _masked(crc32c(raw)) != entry.crc:
            raise WeightsError(f"{data_path}: the checksum of {name} is wrong; the file is damaged, copy it again")
        variables[name] = np.frombuffer(raw, "<f4").reshape(entry.shape)
    return variables


# -------------------------------------------------------------------------- from variables to tensors

# The original decodes u and v with 96 px although it trains with 95; its weights must be read its way.
_ORIGINAL_UV_SCALE = 96.0
_ORIGINAL_CUBE = {"icvl": 250.0, "nyu": 250.0, "msra": 175.0}
_NOT_WEIGHTS = {"edge"}  # a constant of the original graph that no output depends on


def _residual(name: str, *, projects: bool = False) -> Iterator[tuple[str, str]]:
    for layer in range(3):
        yield from _conv_bn(f"{name}.branch.{layer}")
    if projects:
        yield from _conv_bn(f"{name}.shortcut")


def _conv_bn(name: str) -> Iterator[tuple[str, str]]:
    yield "conv2d", f"{name}.0"
    yield "batch_normalization", f"{name}.1"


def _hourglass(name: str, depth: int) -> Iterator[tuple[str, str]]:
    yield from _residual(f"{name}.upper")
    yield from _residual(f"{name}.lower1")
    if depth > 1:
        yield from _hourglass(f"{name}.inner", depth - 1)
    yield from _residual(f"{name}.lower3")


def _layers(stacks: int) -> Iterator[tuple[str, str]]:
    """(kind, our name) of every layer, in the order in which the original graph creates and so numbers them."""
    yield "conv2d", "stem.conv"
    yield "batch_normalization", "stem.bn"
    yield from _residual("stem.residual1", projects=True)
    yield from _residual("stem.residual2")
    yield from _residual("stem.residual3", projects=True)
    for stack in range(stacks):
        yield from _hourglass(f"hourglasses.{stack}", 3)
        yield from _residual(f"residuals.{stack}")
        yield "conv2d", f"reasonings.{stack}.vote"
        yield from _conv_bn(f"reasonings.{stack}.embed")
        yield "dense", f"reasonings.{stack}.propagate"
        yield from _conv_bn(f"reasonings.{stack}.context")
        yield from _conv_bn(f"reasonings.{stack}.fuse")
        for axis in "uvz":
            yield "conv2d", f"heads.{stack}.offsets.{axis}"
        if stack + 1 < stacks:
            yield from _conv_bn(f"from_offsets.{stack}")
            yield from _conv_bn(f"from_features.{stack}")


_BATCH_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


def variable_names(stacks: int = 2) -> dict[str, str]:
    """For every TensorFlow variable the tensor of ours that it becomes.

    Layers are matched by their number, never by their place in the file, which sorts `conv2d_10` before
    `conv2d_2`. Offset kernels come as three, `...offsets.u`, `.v` and `.z`.
    """
    numbers = {"conv2d": 0, "batch_normalization": 0, "dense": 0}
    names: dict[str, str] = {}
    for kind, ours in _layers(stacks):
        layer = f"{kind}_{numbers[kind]}" if numbers[kind] else kind
        numbers[kind] += 1
        if kind == "batch_normalization":
            names |= {f"{layer}/{theirs}": f"{ours}.{our}" for theirs, our in _BATCH_NORM.items()}
        else:
            names[f"{layer}/kernel"] = f"{ours}.weight"
        if ours.endswith(".vote"):
            names[f"{layer}/bias"] = f"{ours}.bias"
    return names


def state_dict(variables: dict[str, np.ndarray], layout: str) -> dict[str, np.ndarray]:
    """Our tensors from the variables of a checkpoint of the original network.

    Raises:
        WeightsError: a variable is missing, unknown, or shaped for another layout.
    """
    joints = len(JGRP2OConfig(layout).joint_layout)
    names = variable_names()
    wrong = sorted((names.keys() ^ variables.keys()) - _NOT_WEIGHTS)
    if wrong:
        raise WeightsError(
            f"not the original JGR-P2O checkpoint: {len(wrong)} variables are missing or unknown, first "
            f"{wrong[0]!r:.100}"
        )
    vote = next(theirs for theirs, ours in names.items() if ours == "reasonings.0.vote.bias")
    if variables[vote].shape != (joints,):
        raise WeightsError(
            f"the checkpoint predicts {variables[vote].size} joints, layout {layout} has {joints}; "
            "give the layout it was trained for"
        )
    tensors = {}
    for theirs, ours in names.items():
        value = variables[theirs]
        if theirs.endswith("/kernel"):  # (height, width, in, out) or (in, out) to (out, in, height, width)
            value = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T
        tensors[ours] = value
    for stack in range(2):
        maps = [tensors.pop(f"heads.{stack}.offsets.{axis}.weight") for axis in "uvz"]
        if len({each.shape for each in maps}) > 1 or maps[0].ndim != 4:
            raise WeightsError(f"the checkpoint's offset kernels have unlike shapes {[each.shape for each in maps]}")
        tensors[f"heads.{stack}.offsets.weight"] = np.concatenate(maps)
    return {name: np.ascontiguousarray(value) for name, value in tensors.items()}


def convert(prefix: str | Path, out: str | Path, layout: str) -> None:
    """Writes a model folder from an original checkpoint; on any error nothing is left behind.

    Args:
        prefix: the checkpoint's path without `.index` / `.data-00000-of-00001`.
        out: the folder to make; must not exist.
        layout: what it was trained for, `nyu`, `icvl` or `msra`.

    Raises:
        WeightsError: `out` exists, or the checkpoint is damaged, foreign or of another layout.
    """
    out = Path(out)
    if out.exists():
        raise WeightsError(f"{out}: is there already; give a new folder")
    config = JGRP2OConfig(layout, cube=_ORIGINAL_CUBE.get(layout, 250.0), uv_scale=_ORIGINAL_UV_SCALE)
    tensors = state_dict(read_variables(prefix), layout)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=out.parent))
    except OSError as error:
        raise WeightsError(f"{out}: cannot be written ({error})") from None
    try:
        save_file(tensors, part / MODEL_FILE)
        (part / CONFIG_FILE).write_text(json.dumps(config.to_dict(), indent=2) + "\n", encoding="utf-8")
        part.chmod(0o755)
        (part / MODEL_FILE).chmod(0o644)
        part.rename(out)
    except OSError as error:
        raise WeightsError(f"{out}: cannot be written ({error})") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
