"""Reads depth files of every format as (H, W) float32 in mm."""

from __future__ import annotations

import stat
from pathlib import Path

import numpy as np

from handpose.errors import DepthReadError, HandPoseError, brief
from handpose.io.depth.limits import MAX_FILE_BYTES
from handpose.io.depth.msra import read_msra
from handpose.io.depth.npy import read_npy, read_npz
from handpose.io.depth.png import read_png
from handpose.io.depth.tiff import read_tiff
from handpose.io.depth.units import DepthUnit, millimeters_per_unit, warn_about_sign, warn_about_unit
from handpose.io.inputs import file_of

SUFFIXES = (".png", ".tif", ".tiff", ".npy", ".npz", ".bin")
"""Extensions of the files that `read_depth` reads."""

_INFINITY = np.float32(np.inf).view(np.uint32)
_MAGIC = {b"\x89PNG": ".png", b"II*\0": ".tif", b"MM\0*": ".tif", b"\x93NUMPY": ".npy", b"PK\3\4": ".npz"}


def read_depth(path: str | Path, unit: DepthUnit = "mm") -> np.ndarray:
    """Read a depth image.

    Formats: PNG and TIFF with 16-bit integers, TIFF with 32-bit floats, `.npy`, `.npz` (one array, or one named
    `depth`), MSRA's `.bin`, and PNGs with two bytes per value if the unit is `nyu` or `ho3d`.

    Args:
        path: Depth file.
        unit: Unit of the stored values.

    Returns:
        Depth (H, W) float32 in mm. It is 0 where the stored value is 0, NaN, infinite or negative.

    Raises:
        DepthReadError: The file does not exist, is damaged or too large, does not contain depth, or contains several
            frames. 8-bit and color images are rejected, since they cannot store millimeters.

    Warns:
        DepthUnitWarning: In this unit, the nearest surface is not at the distance of a hand; or all depth values are
            negative.
    """
    return decode_depth(read_bytes(Path(path), str(path)), str(path), unit)


def read_bytes(path: Path, name: str) -> bytes:
    """Read the content of a depth file, for `decode_depth`.

    Args:
        path: Depth file.
        name: Name of the file in error messages.

    Raises:
        DepthReadError: The file does not exist, cannot be read or is too large, or its extension is not that of a depth
            format.
    """
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: the path contains a null character
        status = None
    except OSError as error:  # such as that of a disk or a network
        raise DepthReadError(f"{name}: cannot be read ({error.strerror})") from None
    if status is None or not stat.S_ISREG(status.st_mode):  # opening a pipe could block forever
        is_folder = status is not None and stat.S_ISDIR(status.st_mode)
        problem = "is a folder" if is_folder else "no such file"
        raise DepthReadError(f"{name}: {problem}; expected a depth image ({', '.join(SUFFIXES)})")
    _check_suffix(name, path.suffix.lower())
    if status.st_size > MAX_FILE_BYTES:
        raise DepthReadError(f"{name}: {status.st_size} bytes; the maximum is {MAX_FILE_BYTES}")
    try:
        with path.open("rb", buffering=0) as file:
            return file.readall()
    except OSError as error:
        raise DepthReadError(f"{name}: cannot be read ({error})") from None


def decode_depth(data: bytes, name: str, unit: DepthUnit = "mm") -> np.ndarray:
    """Decode the content of a depth file.

    Args:
        data: Content of the file.
        name: Name of the file. Its extension determines the format; without an extension, the first bytes do.
        unit: Unit of the stored values.

    Returns:
        Depth (H, W) float32 in mm, see `read_depth`.

    Raises:
        DepthReadError: The content is damaged or too large, or is not depth.

    Warns:
        DepthUnitWarning: In this unit, the nearest surface is not at the distance of a hand; or all depth values are
            negative.
    """
    factor = millimeters_per_unit(unit)
    if len(data) > MAX_FILE_BYTES:
        raise DepthReadError(f"{name}: {len(data)} bytes; the maximum is {MAX_FILE_BYTES}")
    suffix = "" if file_of(Path(name)) != Path(name) else Path(name).suffix.lower()
    suffix = suffix or next((_MAGIC[head] for head in _MAGIC if data.startswith(head)), "")
    stored = _READERS[_check_suffix(name, suffix)](name, data, unit if unit in ("nyu", "ho3d") else None)
    depth = to_depth(stored, factor)
    warn_about_sign(depth, stored, name)
    warn_about_unit(depth, unit, name, integers=stored.dtype.kind in "ui")
    return depth


def to_depth(array: np.ndarray, unit: DepthUnit = "mm") -> np.ndarray:
    """Convert an array to depth. An array that already is contiguous valid depth in mm is not copied.

    Args:
        array: (H, W) numbers of 16 bits or more. Masked values are missing.
        unit: Unit of the values.

    Returns:
        Depth (H, W) float32 in mm, contiguous. It is 0 where the value is 0, missing, NaN, infinite or negative.

    Raises:
        HandPoseError: `array` is not a two-dimensional array of numbers.
    """
    try:
        array = np.asarray(np.ma.filled(array, 0))
    except ValueError:
        raise HandPoseError(f"depth must be (H, W) numbers, got rows of different lengths: {brief(array)}") from None
    if array.ndim != 2 or array.size == 0 or array.dtype.kind not in "uif" or array.dtype.itemsize == 1:
        raise HandPoseError(
            f"depth must be (H, W) numbers of 16 bits or more, got {_kind(array)}; " + _advice(array.shape)
        )
    factor = millimeters_per_unit(unit)
    with np.errstate(over="ignore", invalid="ignore"):
        if factor == 1.0:
            depth = np.ascontiguousarray(array, dtype=np.float32)
        else:
            depth = np.multiply(array, np.float32(factor), dtype=np.float32, casting="unsafe", order="C")
        # Read as integers, the bits of negative numbers, infinity and NaN are not below those of infinity.
        valid = array.dtype.kind == "u" or depth.view(np.uint32).max() < _INFINITY
        if not valid:  # comparisons with NaN are false
            depth = np.where((depth >= 0) & (depth < np.inf), depth, np.float32(0))
    return depth


def _kind(array: np.ndarray) -> str:
    """Return the shape and the type of an array, or the value if it is no array."""
    return brief(array.item()) if array.ndim == 0 else f"{array.shape} {array.dtype}"


def _advice(shape: tuple[int, ...]) -> str:
    """Return how to pass an array of another shape."""
    if len(shape) == 3 and shape[2] == 1:
        return "use depth[..., 0]"
    if len(shape) == 3 and shape[0] == 1:
        return "use depth[0]"
    if len(shape) == 3 and shape[2] in (3, 4):
        return "a picture has no depth; pass the raw depth, or the path of a PNG in unit nyu or ho3d"
    if len(shape) > 2:
        return "pass several frames as a list of arrays"
    if len(shape) == 1:
        return "each element of a list is one image, so pass the array of a single image"
    return "read files with handpose.read_depth"


def _check_suffix(name: str, suffix: str) -> str:
    if suffix not in _READERS:
        raise DepthReadError(
            f"{name}: {suffix or 'no extension'} is not a depth format; expected {', '.join(SUFFIXES)}"
        )
    return suffix


_READERS = {
    ".png": read_png,
    ".tif": read_tiff,
    ".tiff": read_tiff,
    ".npy": read_npy,
    ".npz": read_npz,
    ".bin": read_msra,
}
