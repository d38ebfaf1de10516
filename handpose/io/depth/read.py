"""The only door for depth files: every format in, one thing out, (H, W) float32 millimetres."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from handpose.errors import DepthReadError, HandPoseError
from handpose.io.depth.limits import LARGEST_FILE
from handpose.io.depth.msra import read_msra
from handpose.io.depth.npy import read_npy, read_npz
from handpose.io.depth.png import read_png
from handpose.io.depth.tiff import read_tiff
from handpose.io.depth.units import DepthUnit, millimetres_per_unit, warn_of_unit

SUFFIXES = (".png", ".tif", ".tiff", ".npy", ".npz", ".bin")
"""The endings of files that `read_depth` reads."""

_MAGIC = {b"\x89PNG": ".png", b"II*\0": ".tif", b"MM\0*": ".tif", b"\x93NUMPY": ".npy", b"PK\3\4": ".npz"}


def read_depth(path: str | Path, unit: DepthUnit = "mm") -> np.ndarray:
    """A depth image (H, W) float32 in mm, 0 = no reading (so are NaN, infinite and negative values stored).

    Formats: PNG and TIFF with 16-bit integers, TIFF with 32-bit floats, `.npy`, `.npz` (one array, or one
    named `depth`), MSRA's `.bin`, and NYU's two-byte PNG if `unit="nyu"`.

    Args:
        path: the file.
        unit: what its numbers mean.

    Raises:
        DepthReadError: not there, damaged, not depth, or too large. 8-bit and colour images are refused:
            their millimetres are already lost.

    Warns:
        DepthUnitWarning: nothing in the image is where a hand could be in this unit.
    """
    return decode_depth(read_bytes(Path(path), str(path)), str(path), unit)


def read_bytes(path: Path, name: str) -> bytes:
    """What a depth file holds, for `decode_depth`.

    Args:
        path: the file.
        name: what errors call it.

    Raises:
        DepthReadError: not there, too large, or its ending is no depth format's.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        raise DepthReadError(f"{name}: {what}; expected a depth image ({', '.join(SUFFIXES)})")
    _check_suffix(name, path.suffix.lower())
    size = path.stat().st_size
    if size > LARGEST_FILE:
        raise DepthReadError(f"{name}: {size} bytes; no depth image is that large")
    try:
        return path.read_bytes()
    except OSError as error:
        raise DepthReadError(f"{name}: cannot be read ({error})") from None


def decode_depth(data: bytes, name: str, unit: DepthUnit = "mm") -> np.ndarray:
    """The depth image (H, W) float32 in mm that a file's bytes hold, as `read_depth` reads it.

    Args:
        data: the whole file.
        name: what the file is called; its ending says the format, or without one the first bytes do.
        unit: what its numbers mean.

    Raises:
        DepthReadError: damaged, not depth, or too large.

    Warns:
        DepthUnitWarning: nothing in the image is where a hand could be in this unit.
    """
    factor = millimetres_per_unit(unit)
    if len(data) > LARGEST_FILE:
        raise DepthReadError(f"{name}: {len(data)} bytes; no depth image is that large")
    suffix = Path(name).suffix.lower() or next((_MAGIC[head] for head in _MAGIC if data.startswith(head)), "")
    stored = _READERS[_check_suffix(name, suffix)](name, data, unit == "nyu")
    depth = to_depth(stored, factor)
    warn_of_unit(depth, factor, Path(name).name, integers=stored.dtype.kind in "ui")
    return depth


def to_depth(array: np.ndarray, unit: DepthUnit = "mm") -> np.ndarray:
    """An array of depth as (H, W) float32 mm, contiguous, 0 = no reading; the same array if it already is that.

    Raises:
        HandPoseError: it is not a two-dimensional array of numbers.
    """
    array = np.asarray(np.ma.filled(array, 0))  # what a mask hides is no reading
    if array.ndim != 2 or array.size == 0 or array.dtype.kind not in "uif" or array.dtype.itemsize == 1:
        raise HandPoseError(
            f"depth must be (H, W) numbers of 16 bits or more, got {array.shape} {array.dtype}; "
            "read files with handpose.read_depth"
        )
    factor = millimetres_per_unit(unit)
    with np.errstate(over="ignore", invalid="ignore"):
        depth = np.ascontiguousarray(array, dtype=np.float32)
        if factor != 1.0:
            depth = depth * np.float32(factor)
        # Comparisons are false with NaN, too.
        good = array.dtype.kind == "u" or (depth.min() >= 0 and depth.max() < np.inf)
        if not good:
            depth = np.where((depth >= 0) & (depth < np.inf), depth, np.float32(0))
    return depth


def _check_suffix(name: str, suffix: str) -> str:
    if suffix not in _READERS:
        raise DepthReadError(f"{name}: {suffix or 'no ending'} is not a depth format; expected {', '.join(SUFFIXES)}")
    return suffix


# ---------------------------------------------------------------------------------------------- PNG


# --------------------------------------------------------------------------------------------- TIFF


# -------------------------------------------------------------------------------------------- numpy


# --------------------------------------------------------------------------------------------- MSRA


_READERS = {
    ".png": read_png,
    ".tif": read_tiff,
    ".tiff": read_tiff,
    ".npy": read_npy,
    ".npz": read_npz,
    ".bin": read_msra,
}

# --------------------------------------------------------------------------------------------- units
