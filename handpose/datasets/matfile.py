"""Numeric arrays in MATLAB version 5 files, the format of NYU's labels."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from handpose.errors import HandPoseError

# MathWorks, "MAT-File Format": data types of stored elements, and classes of arrays.
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_MATRIX, _COMPRESSED = 14, 15
_INT32, _UINT32, _INT8, _DOUBLE = 5, 6, 1, 9
_HEADER = 128
_HEAD_BYTES = 512  # more than flags, 32 dimensions and a name of 63 letters
_MAX_ARRAY_BYTES = 1 << 28  # NYU's labels have 188 MB


def read_mat(path: str | Path, name: str) -> np.ndarray:
    """Read the numeric array `name` from a MATLAB version 5 file.

    Raises:
        HandPoseError: The file or the array does not exist, is damaged or has another format, or the array does not
            contain real numbers.
    """
    path = Path(path)
    names = []
    try:
        remaining = path.stat().st_size - _HEADER
        with path.open("rb") as file:
            header = file.read(_HEADER)
            if header.startswith(b"MATLAB 7.3"):
                raise HandPoseError(f"{path}: is a MATLAB 7.3 file; save it with MATLAB's option -v7")
            order = {b"IM": "<", b"MI": ">"}.get(header[126:128])
            if order is None:
                raise HandPoseError(f"{path}: expected a MATLAB version 5 file, got another format")
            while tag := file.read(8):
                kind, length = struct.unpack(order + "II", tag)
                remaining -= 8 + length
                if remaining < 0:
                    raise ValueError
                body = file.read(length)
                if kind not in (_MATRIX, _COMPRESSED):
                    continue
                names.append(_name(_head(kind, body), order))
                if names[-1] == name:
                    return _array(_unpacked(body)[8:] if kind == _COMPRESSED else body, order)
    except OSError as error:
        raise HandPoseError(f"{path}: cannot be read ({error})") from None
    except (ValueError, KeyError, StopIteration, struct.error, zlib.error):
        raise HandPoseError(f"{path}: the MATLAB file is truncated or damaged; copy it again") from None
    raise HandPoseError(f"{path}: contains no array {name}, only {', '.join(names) or 'nothing'}")


def write_mat(path: str | Path, arrays: dict[str, np.ndarray]) -> None:
    """Write float64 arrays to a compressed MATLAB version 5 file."""
    text = b"MATLAB 5.0 MAT-file, written by handpose"
    with Path(path).open("wb") as file:
        file.write(text.ljust(124) + struct.pack("<H", 0x0100) + b"IM")
        for name, array in arrays.items():
            body = _element(_UINT32, struct.pack("<II", 6, 0)) + _element(
                _INT32, struct.pack(f"<{array.ndim}i", *array.shape)
            )
            body += _element(_INT8, name.encode("ascii"))
            body += _element(_DOUBLE, np.asarray(array, "<f8").tobytes(order="F"))
            packed = zlib.compress(struct.pack("<II", _MATRIX, len(body)) + body)
            file.write(struct.pack("<II", _COMPRESSED, len(packed)) + packed)


def _element(kind: int, data: bytes) -> bytes:
    return struct.pack("<II", kind, len(data)) + data + b"\0" * (-len(data) % 8)


def _unpacked(body: bytes) -> bytes:
    stream = zlib.decompressobj()
    data = stream.decompress(body, _MAX_ARRAY_BYTES)
    if not stream.eof:
        raise ValueError
    return data


def _head(kind: int, body: bytes) -> bytes:
    """Return the beginning of a matrix without decompressing all of it."""
    return zlib.decompressobj().decompress(body, _HEAD_BYTES)[8:] if kind == _COMPRESSED else body[:_HEAD_BYTES]


def _elements(body: bytes, order: str) -> Iterator[tuple[int, memoryview]]:
    """Yield the types and data of the elements of a matrix."""
    at, view = 0, memoryview(body)
    while at + 8 <= len(body):
        kind, length = struct.unpack_from(order + "II", body, at)
        if kind >> 16:  # up to four bytes are stored in the tag itself
            yield kind & 0xFFFF, view[at + 4 : at + 4 + (kind >> 16)]
            at += 8
        else:
            yield kind, view[at + 8 : at + 8 + length]
            at += 8 + length + -length % 8


def _name(head: bytes, order: str) -> str:
    elements = _elements(head, order)
    next(elements)  # flags
    next(elements)  # dimensions
    return bytes(next(elements)[1]).decode("ascii")


def _array(body: bytes, order: str) -> np.ndarray:
    flags, dimensions, _, data, *rest = _elements(body, order)
    kind = struct.unpack(order + "I", flags[1][:4])[0]
    if rest or kind & 0x0800:
        raise ValueError  # complex, or not only numbers
    shape = np.frombuffer(dimensions[1], order + "i4")
    values = np.frombuffer(data[1], order + _STORED[data[0]])
    dtype = np.dtype(_CLASSES[kind & 0xFF])
    if (shape < 0).any() or (values.dtype.kind == "f" and dtype.kind != "f"):
        raise ValueError
    with np.errstate(over="ignore"):  # values beyond float32 become infinite
        return values.reshape(shape, order="F").astype(dtype)
