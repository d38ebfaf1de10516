"""Reads depth from `.npy` and `.npz` files."""

from __future__ import annotations

import contextlib
import io
import re
import zipfile
from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np

from handpose.errors import DepthReadError
from handpose.io.depth.limits import MAX_FILE_BYTES, MAX_FRAMES, check_size, not_depth, reject_coding, several_frames
from handpose.io.depth.units import Coding

_MAX_CHANNELS = 4  # arrays with a last axis of up to this size are pictures, not stacks of frames

# The header is the text of a dictionary. numpy evaluates it; here, three values are matched instead.
_MAX_NPY_HEADER = 10_000  # bytes
_NPY_VALUES = tuple(
    re.compile(pattern)
    for pattern in (
        rb"'descr':\s*'([<>=|]?[uif][1248])'",
        rb"'fortran_order':\s*(True|False)",
        rb"'shape':\s*\(((?:\d{1,9}L?(?:,\s*\d{1,9}L?){0,7})?),?\s*\)",
    )
)


def count_npy(name: str, file: BinaryIO) -> int:
    """Return the number of frames that the header of a `.npy` file declares."""
    return _npy_header(name, file.read(_MAX_NPY_HEADER))[1][0]


def count_npz(name: str, file: BinaryIO) -> int:
    """Return the number of frames that the header in a `.npz` file declares."""
    with _npz_member(name, file) as member:
        return count_npy(name, member)


def npy_frames(name: str, file: BinaryIO) -> np.ndarray:
    """Read the frames (N, H, W) of a `.npy` file with one or more frames."""
    head = file.read(_MAX_NPY_HEADER)
    dtype, (count, height, width), fortran, start, declared = _npy_header(name, head)
    expected = count * height * width * dtype.itemsize
    if count > 1 and expected > MAX_FILE_BYTES:
        raise DepthReadError(f"{name}: {count} frames need {expected} bytes; save at most {MAX_FILE_BYTES} per file")
    data = head[start:] + file.read(max(0, expected + 1 - (len(head) - start)))
    if len(data) != expected:
        raise DepthReadError(
            f"{name}: {declared} {dtype} needs {expected} bytes, the file has "
            f"{'fewer' if len(data) < expected else 'more'}; copy or record it again"
        )
    return np.frombuffer(data, dtype).reshape(declared, order="F" if fortran else "C").reshape(count, height, width)


def npz_frames(name: str, file: BinaryIO) -> np.ndarray:
    """Read the frames (N, H, W) in the only array of a `.npz` file, or in the one named `depth`."""
    with _npz_member(name, file) as member:
        return npy_frames(name, member)


def read_npy(name: str, data: bytes, coding: Coding | None) -> np.ndarray:
    """Read the array (H, W) of a `.npy` file."""
    reject_coding(name, coding)
    return _single(name, data, npy_frames)


def read_npz(name: str, data: bytes, coding: Coding | None) -> np.ndarray:
    """Read the only array (H, W) of a `.npz` file, or the one named `depth`."""
    reject_coding(name, coding)
    return _single(name, data, npz_frames)


def _single(name: str, data: bytes, read: Callable[[str, BinaryIO], np.ndarray]) -> np.ndarray:
    frames = read(name, io.BytesIO(data))
    if len(frames) != 1:
        raise several_frames(name, len(frames))
    frame: np.ndarray = frames[0]
    return frame


def _npy_header(name: str, head: bytes) -> tuple[np.dtype, tuple[int, int, int], bool, int, tuple[int, ...]]:
    """Return data type, sizes N, H, W, whether the order is Fortran's, offset of the values, and declared shape."""
    start = 12 if head[6:7] in (b"\2", b"\3") else 10
    if head[:6] != b"\x93NUMPY" or head[6:7] not in (b"\1", b"\2", b"\3") or len(head) < start:
        raise DepthReadError(f"{name}: not a numpy array file, or truncated")
    start += int.from_bytes(head[8:start], "little")
    text = head[:start]
    descr, fortran, shape = (pattern.search(text) for pattern in _NPY_VALUES)
    declared = tuple(map(int, re.findall(rb"\d+", shape[1]))) if shape else ()
    if start > len(head) or not (descr and fortran and shape):
        raise DepthReadError(
            f"{name}: its header is damaged, or it does not contain numbers; expected an (H, W) array of numbers"
        )
    dtype = np.dtype(descr[1].decode())
    if dtype.itemsize == 1:
        raise not_depth(name, f"an array of {dtype}")
    sides = declared[:-1] if len(declared) == 3 and declared[2] == 1 else declared
    if len(sides) not in (2, 3) or (len(sides) == 3 and sides[2] <= _MAX_CHANNELS):
        raise DepthReadError(
            f"{name}: is an array of shape {declared}; expected (H, W), or (N, H, W) for N frames of depth"
        )
    count, height, width = (1, *sides)[-3:]
    check_size(name, height, width)
    if not 0 < count <= MAX_FRAMES:
        raise DepthReadError(f"{name}: declares {count} frames; expected 1 to {MAX_FRAMES}")
    return dtype, (count, height, width), fortran[1] == b"True", start, declared


@contextlib.contextmanager
def _npz_member(name: str, file: BinaryIO) -> Iterator[BinaryIO]:
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            member = "depth.npy" if "depth.npy" in names else names[0] if len(names) == 1 else None
            if member is None:
                raise DepthReadError(f"{name}: expected one array, or one named depth, got {str(names)[:100]}")
            if archive.getinfo(member).compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise DepthReadError(f"{name}: has an unsupported compression; save it with numpy.savez_compressed")
            with archive.open(member) as content:
                yield content  # type: ignore[misc]
    except DepthReadError:
        raise
    except Exception as error:  # zipfile raises undocumented exceptions for damaged archives
        raise DepthReadError(f"{name}: not a readable .npz ({str(error)[:100]}); copy or record it again") from None
