"""The only door for depth files: every format in, one thing out, (H, W) float32 millimetres."""

from __future__ import annotations

import struct
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO, Literal

import cv2
import numpy as np

from handpose.errors import DepthReadError, HandPoseError

DepthUnit = Literal["mm", "m", "nyu"] | float
"""What a stored number means: `mm`, `m`, millimetres per unit, or `nyu` (NYU's colour PNG, depth = G*256 + B)."""

SUFFIXES = (".png", ".tif", ".tiff", ".npy", ".npz", ".bin")
"""The endings of files that `read_depth` reads."""

MAX_PIXELS = 50_000_000
"""Files that claim more are refused before anything is allocated."""

_LARGEST_FILE = 1 << 30


class DepthUnitWarning(UserWarning):
    """The values of a depth image make no sense in the unit they were read with."""


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
    path = Path(path)
    factor = millimetres_per_unit(unit)
    try:
        stored = _READERS[_check_suffix(path)](path, unit == "nyu")
    except OSError as error:
        raise DepthReadError(f"{path}: cannot be read ({error})") from None
    depth = to_depth(stored, factor)
    warn_of_unit(depth, factor, path.name, integers=stored.dtype.kind in "ui")
    return depth


def to_depth(array: np.ndarray, unit: DepthUnit = "mm") -> np.ndarray:
    """An array of depth as (H, W) float32 mm, contiguous, 0 = no reading; the same array if it already is that.

    Raises:
        HandPoseError: it is not a two-dimensional array of numbers.
    """
    array = np.asarray(array)
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
        good = depth.min() >= 0 and depth.max() < np.inf  # false with NaN, too
        if not good:
            depth = np.where((depth >= 0) & (depth < np.inf), depth, np.float32(0))
    return depth


def millimetres_per_unit(unit: DepthUnit) -> float:
    """What one stored unit is, in mm."""
    if unit in ("mm", "nyu"):
        return 1.0
    if unit == "m":
        return 1000.0
    if isinstance(unit, (int, float)) and not isinstance(unit, bool) and 0 < unit < float("inf"):
        return float(unit)
    raise HandPoseError(f"unit must be mm, m, nyu or a number of millimetres per stored unit, got {unit!r}")


def _check_suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        raise DepthReadError(f"{path}: {what}; expected a depth image ({', '.join(SUFFIXES)})")
    if suffix not in _READERS:
        raise DepthReadError(f"{path}: {suffix or 'no ending'} is not a depth format; expected {', '.join(SUFFIXES)}")
    size = path.stat().st_size
    if size > _LARGEST_FILE:
        raise DepthReadError(f"{path}: {size} bytes; no depth image is that large")
    return suffix


def _check_size(path: Path, height: int, width: int) -> None:
    if height <= 0 or width <= 0 or height * width > MAX_PIXELS:
        raise DepthReadError(
            f"{path}: says it is {width} x {height} px; expected between 1 and {MAX_PIXELS} pixels, so it is "
            "damaged or no depth image"
        )


def _decode(data: bytes) -> np.ndarray | None:
    # OpenCV writes its own lines about damaged files to stderr; ours says it all.
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    finally:
        cv2.utils.logging.setLogLevel(level)


def _refuse_picture(path: Path, what: str) -> DepthReadError:
    return DepthReadError(
        f"{path}: is {what}, which cannot hold millimetres; expected one 16-bit channel. Save the camera's raw "
        "depth (for NYU's two-byte coding give unit nyu)"
    )


# ---------------------------------------------------------------------------------------------- PNG

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


def _png_header(path: Path, head: bytes, nyu: bool) -> tuple[int, int, int]:
    """Height, width and bytes per pixel."""
    if len(head) < 33 or head[:8] != _PNG_MAGIC or head[12:16] != b"IHDR":
        raise DepthReadError(f"{path}: expected a PNG, got {len(head)} bytes of something else or cut short")
    width, height, bits, colour = struct.unpack(">IIBB", head[16:26])
    _check_size(path, height, width)
    if nyu:
        if (bits, colour) != (8, 2):
            raise DepthReadError(f"{path}: NYU's coding is an 8-bit RGB PNG, got {bits}-bit, colour type {colour}")
        return height, width, 3
    if (bits, colour) != (16, 0):
        kind = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGBA"}.get(colour, "unknown")
        raise _refuse_picture(path, f"a {bits}-bit {kind} PNG")
    return height, width, 2


def _read_png(path: Path, nyu: bool) -> np.ndarray:
    data = path.read_bytes()
    height, width, pixel_bytes = _png_header(path, data[:33], nyu)
    _check_png_body(path, data, height * (1 + width * pixel_bytes), interlaced=data[28] != 0)
    image = _decode(data)
    if image is None or image.shape[:2] != (height, width):
        raise DepthReadError(f"{path}: the PNG does not decode; copy or record it again")
    if nyu:
        coded: np.ndarray = image[..., 1].astype(np.uint16) * 256 + image[..., 0]  # green, blue
        return coded
    return image


def _check_png_body(path: Path, data: bytes, expected: int, *, interlaced: bool) -> None:
    """Chunk by chunk: lengths, checksums, the end mark, and that the pixels are all there.

    libpng hands out half an image from a broken file with no more than a line on stderr.
    """
    at, ended = 8, False
    stream = zlib.decompressobj()
    left = expected
    try:
        while not ended:
            length, kind = struct.unpack_from(">I4s", data, at)
            body = memoryview(data)[at + 8 : at + 8 + length]
            (crc,) = struct.unpack_from(">I", data, at + 8 + length)
            if zlib.crc32(body, zlib.crc32(kind)) != crc:
                raise DepthReadError(f"{path}: the checksum of a PNG chunk is wrong; copy or record it again")
            if kind == b"IDAT" and not interlaced:
                left -= len(stream.decompress(body, max(left, 0) + 1))
            ended = kind == b"IEND"
            at += 12 + length
    except (struct.error, zlib.error):
        raise DepthReadError(f"{path}: the PNG is cut short or damaged; copy or record it again") from None
    if left != 0 and not interlaced:
        raise DepthReadError(f"{path}: the PNG holds fewer or more pixels than it says; copy or record it again")


# --------------------------------------------------------------------------------------------- TIFF

_TIFF_TYPES = {1: "B", 3: "H", 4: "I"}
_WIDTH, _HEIGHT, _BITS, _SAMPLES, _FORMAT = 256, 257, 258, 277, 339


def _tiff_header(path: Path, data: bytes) -> tuple[int, int, np.dtype]:
    """Height, width and type of the first image of a TIFF file."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None:
        raise DepthReadError(f"{path}: expected a TIFF, got something else (BigTIFF is not read)")
    tags = {_BITS: 1, _SAMPLES: 1, _FORMAT: 1}
    try:
        (at,) = struct.unpack_from(order + "I", data, 4)
        (count,) = struct.unpack_from(order + "H", data, at)
        for entry in range(count):
            tag, kind, values = struct.unpack_from(order + "HHI", data, at + 2 + 12 * entry)
            if kind in _TIFF_TYPES and values == 1:
                (tags[tag],) = struct.unpack_from(order + _TIFF_TYPES[kind], data, at + 10 + 12 * entry)
            elif tag in (_BITS, _FORMAT):
                tags[tag] = 0  # one value per channel: a colour image
        height, width = tags[_HEIGHT], tags[_WIDTH]
    except (struct.error, KeyError):
        raise DepthReadError(f"{path}: the TIFF is cut short or damaged; copy or record it again") from None
    _check_size(path, height, width)
    types = {(16, 1): np.uint16, (16, 2): np.int16, (32, 3): np.float32}
    dtype = types.get((tags[_BITS], tags[_FORMAT]))
    if dtype is None and tags[_SAMPLES] == 1 and tags[_BITS] > 16:
        raise DepthReadError(f"{path}: TIFFs of {tags[_BITS]} bits are not read; save 16-bit integers or 32-bit floats")
    if dtype is None or tags[_SAMPLES] != 1:
        raise _refuse_picture(path, f"a TIFF of {tags[_SAMPLES]} channels, {tags[_BITS]} bits")
    return height, width, np.dtype(dtype)


def _read_tiff(path: Path, nyu: bool) -> np.ndarray:
    _only_png_is_nyu(path, nyu)
    data = path.read_bytes()
    height, width, dtype = _tiff_header(path, data)
    image = _decode(data)
    if image is None or image.shape != (height, width) or image.dtype.itemsize != dtype.itemsize:
        raise DepthReadError(f"{path}: the TIFF does not decode; copy or record it again")
    return image.view(dtype)


# -------------------------------------------------------------------------------------------- numpy


def _read_npy_stream(path: Path, file: BinaryIO, length: int) -> np.ndarray:
    """One `.npy` from an open file of `length` bytes, its header checked before its pixels are read."""
    try:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        else:
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
    except OSError:
        raise
    except Exception as error:  # numpy evaluates the header's text, and a damaged one can fail in any way
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DepthReadError(f"{path}: not a numpy array file ({reason})") from None
    if len(shape) != 2 or dtype.kind not in "uif":
        raise DepthReadError(f"{path}: expected an (H, W) array of numbers, got {shape} {dtype}")
    _check_size(path, *shape)
    if dtype.itemsize == 1:
        raise _refuse_picture(path, f"an array of {dtype}")
    wanted = shape[0] * shape[1] * dtype.itemsize
    if wanted > length:
        raise DepthReadError(f"{path}: {shape} {dtype} needs {wanted} bytes, the file has {length}; it is cut short")
    try:
        data = file.read(wanted)
    except (OSError, zlib.error, zipfile.BadZipFile) as error:
        raise DepthReadError(f"{path}: damaged ({error}); copy or record it again") from None
    if len(data) != wanted:
        raise DepthReadError(f"{path}: {shape} {dtype} needs {wanted} bytes, got {len(data)}; it is cut short")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def _read_npy(path: Path, nyu: bool) -> np.ndarray:
    _only_png_is_nyu(path, nyu)
    with path.open("rb") as file:
        return _read_npy_stream(path, file, path.stat().st_size)


def _read_npz(path: Path, nyu: bool) -> np.ndarray:
    _only_png_is_nyu(path, nyu)
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            wanted = "depth.npy" if "depth.npy" in names else names[0] if len(names) == 1 else None
            if wanted is None:
                raise DepthReadError(f"{path}: expected one array, or one named depth, got {names}")
            with archive.open(wanted) as file:
                return _read_npy_stream(path, file, archive.getinfo(wanted).file_size)  # type: ignore[arg-type]
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError) as error:
        raise DepthReadError(f"{path}: not a readable .npz ({error}); copy or record it again") from None


# --------------------------------------------------------------------------------------------- MSRA


def _read_msra(path: Path, nyu: bool) -> np.ndarray:
    """MSRA's `.bin`: six int32 (image width, height, then left, top, right, bottom) and the window's float32 mm."""
    _only_png_is_nyu(path, nyu)
    data = path.read_bytes()
    if len(data) < 24:
        raise DepthReadError(f"{path}: expected MSRA's 24-byte header, got {len(data)} bytes")
    width, height, left, top, right, bottom = struct.unpack_from("<6i", data)
    _check_size(path, height, width)
    if not (0 <= left <= right <= width and 0 <= top <= bottom <= height):
        raise DepthReadError(
            f"{path}: the header's window {left},{top} to {right},{bottom} is not inside its {width} x {height} image"
        )
    wanted = 24 + 4 * (right - left) * (bottom - top)
    if len(data) != wanted:
        raise DepthReadError(f"{path}: the header asks for {wanted} bytes, got {len(data)}; copy it again")
    depth = np.zeros((height, width), np.float32)
    depth[top:bottom, left:right] = np.frombuffer(data, "<f4", offset=24).reshape(bottom - top, right - left)
    return depth


def _only_png_is_nyu(path: Path, nyu: bool) -> None:
    if nyu:
        raise DepthReadError(f"{path}: unit nyu is a coding of PNG files; give the unit of this file's numbers")


_READERS = {
    ".png": _read_png,
    ".tif": _read_tiff,
    ".tiff": _read_tiff,
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".bin": _read_msra,
}

# --------------------------------------------------------------------------------------------- units

_HAND_RANGE = (80.0, 2500.0)  # mm: where the nearest things of an image with a hand in it may be
_COMMON_UNITS = {"mm": 1.0, "m": 1000.0, "0.125": 0.125, "0.25": 0.25, "0.1": 0.1, "10": 10.0}


def warn_of_unit(depth: np.ndarray, factor: float, name: str, *, integers: bool) -> None:
    """Warns if nothing in `depth` (H, W) mm is where a hand could be, and names the likely unit.

    Args:
        depth: mm.
        factor: the millimetres per unit it was read with.
        name: of the image.
        integers: it was stored as integers, which metres are not.
    """
    readings = depth[::4, ::4][depth[::4, ::4] > 0]
    if len(readings) < 50:
        return
    near = float(np.percentile(readings, 2))
    if _HAND_RANGE[0] <= near <= _HAND_RANGE[1]:
        return
    likely = [
        text
        for text, other in _COMMON_UNITS.items()
        if 150.0 <= near / factor * other <= 1500.0 and not (integers and text == "m")
    ]
    hint = f"; its unit is likely {likely[0]}" if likely else ""
    warnings.warn(
        f"{name}: the nearest surface is at {near:.4g} mm, where no hand can be measured{hint}",
        DepthUnitWarning,
        stacklevel=3,
    )
