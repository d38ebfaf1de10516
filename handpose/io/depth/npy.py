"""Reads depth from `.npy` and `.npz` files."""

from __future__ import annotations

import io
import re
import zipfile
from typing import BinaryIO

import numpy as np

from handpose.errors import DepthReadError
from handpose.io.depth.limits import check_size, not_depth, reject_nyu

# The header is the text of a dictionary. numpy evaluates it; here, three values are matched instead.
_MAX_NPY_HEADER = 10_000  # bytes
_NPY_VALUES = tuple(
    re.compile(pattern)
    for pattern in (
        rb"'descr':\s*'([<>=|]?[uif][1248])'",
        rb"'fortran_order':\s*(True|False)",
        rb"'shape':\s*\((\d{1,9})L?,\s*(\d{1,9})L?,?\s*\)",
    )
)


def _read_npy_stream(name: str, file: BinaryIO) -> np.ndarray:
    """Read the array of a `.npy` file, after checking its header."""
    head = file.read(_MAX_NPY_HEADER)
    start = 12 if head[6:7] in (b"\2", b"\3") else 10
    if head[:6] != b"\x93NUMPY" or head[6:7] not in (b"\1", b"\2", b"\3") or len(head) < start:
        raise DepthReadError(f"{name}: not a numpy array file, or truncated")
    start += int.from_bytes(head[8:start], "little")
    text = head[:start]
    descr, fortran, shape = (pattern.search(text) for pattern in _NPY_VALUES)
    if start > len(head) or not (descr and fortran and shape):
        raise DepthReadError(f"{name}: expected an (H, W) array of numbers, got {text[10:200]!r}")
    dtype, height, width = np.dtype(descr[1].decode()), int(shape[1]), int(shape[2])
    check_size(name, height, width)
    if dtype.itemsize == 1:
        raise not_depth(name, f"an array of {dtype}")
    expected = height * width * dtype.itemsize
    data = head[start:] + file.read(max(0, expected + 1 - (len(head) - start)))
    if len(data) != expected:
        raise DepthReadError(
            f"{name}: ({height}, {width}) {dtype} needs {expected} bytes, the file has "
            f"{'fewer' if len(data) < expected else 'more'}; copy or record it again"
        )
    return np.frombuffer(data, dtype).reshape((height, width), order="F" if fortran[1] == b"True" else "C")


def read_npy(name: str, data: bytes, nyu: bool) -> np.ndarray:
    """Read the array (H, W) of a `.npy` file."""
    reject_nyu(name, nyu)
    return _read_npy_stream(name, io.BytesIO(data))


def read_npz(name: str, data: bytes, nyu: bool) -> np.ndarray:
    """Read the only array (H, W) of a `.npz` file, or the one named `depth`."""
    reject_nyu(name, nyu)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            member = "depth.npy" if "depth.npy" in names else names[0] if len(names) == 1 else None
            if member is None:
                raise DepthReadError(f"{name}: expected one array, or one named depth, got {str(names)[:100]}")
            if archive.getinfo(member).compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise DepthReadError(f"{name}: has an unsupported compression; save it with numpy.savez_compressed")
            with archive.open(member) as file:
                return _read_npy_stream(name, file)  # type: ignore[arg-type]
    except DepthReadError:
        raise
    except Exception as error:  # zipfile raises undocumented exceptions for damaged archives
        raise DepthReadError(f"{name}: not a readable .npz ({str(error)[:100]}); copy or record it again") from None
