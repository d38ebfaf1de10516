"""Reads TensorFlow 1 checkpoints without TensorFlow.

A checkpoint consists of two files. `PREFIX.index` is a sorted string table in LevelDB's format: blocks of
prefix-compressed key/value pairs, which an index block lists. A 48-byte footer contains the handle of the index block.
Each value is a small protocol buffer with the type, shape, masked CRC-32C and position of a tensor in
`PREFIX.data-00000-of-00001`. Both formats are public (LevelDB's table format, TensorFlow's tensor bundle).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from handpose.errors import WeightsError

_TABLE_MAGIC = 0xDB4775248B80FB57
_FOOTER_BYTES = 48
_BLOCK_TRAILER_BYTES = 5  # compression type (1 byte), checksum (4 bytes)
_DT_FLOAT = 1
_MAX_INDEX, _MAX_DATA, _MAX_KEY = 1 << 20, 1 << 26, 1 << 10  # bytes; the original files are far smaller


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
    """Return the CRC-32C (Castagnoli) of `data`."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC_TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _masked(crc: int) -> int:
    # LevelDB and TensorFlow rotate and offset stored checksums, since checksums of data with checksums are weak.
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
            raise ValueError("a number has more than 64 bits")


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the field numbers and values of a protocol buffer message."""
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
            raise ValueError("a field exceeds its message")
        yield tag >> 3, value


def _block(table: bytes, handle: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of the table block at `handle` (offset, size)."""
    offset, at = _varint(handle, 0)
    size, _ = _varint(handle, at)
    body = table[offset : offset + size]
    trailer = table[offset + size : offset + size + _BLOCK_TRAILER_BYTES]
    if len(trailer) != _BLOCK_TRAILER_BYTES:
        raise ValueError("a block exceeds the file")
    if trailer[0] != 0:
        raise ValueError("the table is compressed, which TensorFlow never does")
    if _masked(crc32c(body + trailer[:1])) != struct.unpack("<I", trailer[1:])[0]:
        raise ValueError("a block's checksum is wrong")
    end = size - 4 - 4 * struct.unpack("<I", body[-4:])[0]  # the restart points and their number follow the entries
    key, at = b"", 0
    while at < end:
        shared, at = _varint(body, at)
        unshared, at = _varint(body, at)
        length, at = _varint(body, at)
        if shared + unshared > _MAX_KEY or at + unshared + length > end:
            raise ValueError("an entry exceeds its block")
        key = key[:shared] + body[at : at + unshared]
        yield key, body[at + unshared : at + unshared + length]
        at += unshared + length


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
            f"{path}: expected a TensorFlow checkpoint index, got {len(table)} bytes without its magic number; "
            "the file is truncated or has another format"
        )
    try:
        footer = table[-_FOOTER_BYTES:]
        at = 0
        for _ in range(2):  # skips the handle of the empty meta-index block
            _, at = _varint(footer, at)
        entries = [pair for _, handle in _block(table, footer[at:]) for pair in _block(table, handle)]
        # The value of the empty key is the header of the bundle.
        return {key.decode(): _entry(value) for key, value in entries if key}
    except (ValueError, IndexError, struct.error) as error:
        raise WeightsError(f"{path}: damaged checkpoint index ({error}); copy the file again") from None


def read_variables(prefix: str | Path) -> dict[str, np.ndarray]:
    """Read all variables of a TensorFlow checkpoint and verify their CRC-32C.

    Args:
        prefix: Path of the checkpoint without `.index` or `.data-00000-of-00001`.

    Returns:
        float32 arrays by variable name, in TensorFlow's axis order (kernels: height, width, input, output).

    Raises:
        WeightsError: A file is missing, truncated or damaged, or contains values other than float32.
    """
    index_path, data_path = Path(f"{prefix}.index"), Path(f"{prefix}.data-00000-of-00001")
    for path in (index_path, data_path):
        if not path.is_file():
            raise WeightsError(f"{path}: no such file; pass the path of the checkpoint without .index or .data-...")
    for path, max_bytes in ((index_path, _MAX_INDEX), (data_path, _MAX_DATA)):
        if path.stat().st_size > max_bytes:
            raise WeightsError(f"{path}: {path.stat().st_size} bytes; the original JGR-P2O checkpoint is far smaller")
    entries = _read_index(index_path)
    data = data_path.read_bytes()
    if sum(entry.size for entry in entries.values()) > len(data):
        raise WeightsError(
            f"{data_path}: {len(data)} bytes are fewer than {index_path.name} lists; the file is truncated"
        )
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
                f"got {len(raw)}; the file is truncated or belongs to another index"
            )
        if _masked(crc32c(raw)) != entry.crc:
            raise WeightsError(f"{data_path}: the checksum of {name} is wrong; the file is damaged, copy it again")
        variables[name] = np.frombuffer(raw, "<f4").reshape(entry.shape)
    return variables
