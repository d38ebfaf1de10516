"""The only door for depth files: every format in, one thing out, (H, W) float32 millimetres."""

from __future__ import annotations

import io
import re
import struct
import threading
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO, Literal

import cv2
import numpy as np

from handpose.errors import DepthReadError, HandPoseError
from handpose.io.warn import warn

DepthUnit = Literal["mm", "m", "nyu"] | float
"""What a stored number means: `mm`, `m`, millimetres per unit, or `nyu` (NYU's colour PNG, depth = G*256 + B)."""

SUFFIXES = (".png", ".tif", ".tiff", ".npy", ".npz", ".bin")
"""The endings of files that `read_depth` reads."""

MAX_PIXELS = 50_000_000
"""Files that claim more are refused before anything is allocated."""

LARGEST_FILE = 1 << 30
"""Bytes that no depth image comes near."""

_MAGIC = {b"\x89PNG": ".png", b"II*\0": ".tif", b"MM\0*": ".tif", b"\x93NUMPY": ".npy", b"PK\3\4": ".npz"}


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


def millimetres_per_unit(unit: DepthUnit) -> float:
    """What one stored unit is, in mm."""
    if unit in ("mm", "nyu"):
        return 1.0
    if unit == "m":
        return 1000.0
    if isinstance(unit, (int, float)) and not isinstance(unit, bool) and 1e-6 <= unit <= 1e6:
        return float(unit)
    raise HandPoseError(f"unit must be mm, m, nyu or a number of millimetres per stored unit, got {unit!r}")


def _check_suffix(name: str, suffix: str) -> str:
    if suffix not in _READERS:
        raise DepthReadError(f"{name}: {suffix or 'no ending'} is not a depth format; expected {', '.join(SUFFIXES)}")
    return suffix


def _check_size(name: str, height: int, width: int) -> None:
    if height <= 0 or width <= 0 or height * width > MAX_PIXELS:
        raise DepthReadError(
            f"{name}: says it is {width} x {height} px; expected between 1 and {MAX_PIXELS} pixels, so it is "
            "damaged or no depth image"
        )


def _decode(data: bytes) -> np.ndarray | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None


def _refuse_picture(name: str, what: str) -> DepthReadError:
    return DepthReadError(
        f"{name}: is {what}, which cannot hold millimetres; expected one 16-bit channel. Save the camera's raw "
        "depth (for NYU's two-byte coding give unit nyu)"
    )


# ---------------------------------------------------------------------------------------------- PNG

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PNG_HEADER = 33  # bytes: the magic number and the first chunk
_PASSES = {  # first column and row, and steps from one to the next, of the images that an image is stored as
    0: [(0, 0, 1, 1)],
    1: [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)],
}


def _png_header(name: str, head: bytes, nyu: bool) -> list[tuple[int, int]]:
    """Rows, and bytes per row, of each pass over the image; checks that it is depth."""
    if len(head) < _PNG_HEADER or head[:8] != _PNG_MAGIC or head[8:16] != b"\0\0\0\rIHDR":
        raise DepthReadError(f"{name}: expected a PNG, got {len(head)} bytes of something else or cut short")
    width, height, bits, colour, compression, filtering, interlace = struct.unpack(">II5B", head[16:29])
    _check_size(name, height, width)
    if nyu and (bits, colour) != (8, 2):
        raise DepthReadError(f"{name}: NYU's coding is an 8-bit RGB PNG, got {bits}-bit, colour type {colour}")
    if not nyu and (bits, colour) != (16, 0):
        kind = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGBA"}.get(colour, "unknown")
        raise _refuse_picture(name, f"{'an' if bits == 8 else 'a'} {bits}-bit {kind} PNG")
    if (compression, filtering) != (0, 0) or interlace not in _PASSES:
        raise DepthReadError(f"{name}: the PNG's header is damaged; copy or record it again")
    sizes = [(-((y - height) // dy), -((x - width) // dx)) for x, y, dx, dy in _PASSES[interlace]]
    return [(rows, 1 + columns * (3 if nyu else 2)) for rows, columns in sizes if rows > 0 and columns > 0]


def _read_png(name: str, data: bytes, nyu: bool) -> np.ndarray:
    passes = _png_header(name, data[:_PNG_HEADER], nyu)
    pixels = _png_pixels(name, data, sum(rows * length for rows, length in passes))
    start = 0
    for rows, length in passes:
        if max(pixels[start : start + rows * length : length]) > 4:
            raise DepthReadError(f"{name}: a row of the PNG has no known filter; copy or record it again")
        start += rows * length
    # Other chunks can change what is decoded, and libpng writes its own lines about them: it never sees them.
    image = _decode(data[:_PNG_HEADER] + _png_chunk(b"IDAT", zlib.compress(pixels, 0)) + _png_chunk(b"IEND", b""))
    if image is None:
        raise DepthReadError(f"{name}: the PNG does not decode; copy or record it again")
    if nyu:
        coded: np.ndarray = image[..., 1].astype(np.uint16) * 256 + image[..., 0]  # green, blue
        return coded
    return image


def _png_pixels(name: str, data: bytes, expected: int) -> bytes:
    """The filtered rows: chunk by chunk, lengths, checksums, the end mark, and that `expected` bytes are all there.

    libpng hands out half an image from a broken file with no more than a line on stderr.
    """
    at, kind, packed = 8, b"", []
    stream = zlib.decompressobj()
    try:
        while kind != b"IEND":
            length, kind = struct.unpack_from(">I4s", data, at)
            body = memoryview(data)[at + 8 : at + 8 + length]
            (crc,) = struct.unpack_from(">I", data, at + 8 + length)
            if zlib.crc32(body, zlib.crc32(kind)) != crc:
                raise DepthReadError(f"{name}: the checksum of a PNG chunk is wrong; copy or record it again")
            if kind == b"IDAT":
                packed.append(body)
            elif kind[:1].isupper() and kind not in (b"IHDR", b"PLTE", b"IEND"):
                raise DepthReadError(f"{name}: has a PNG chunk {kind!r} that must be understood and is unknown")
            at += 12 + length
        pixels = stream.decompress(b"".join(packed), expected + 1)
    except (struct.error, zlib.error):
        raise DepthReadError(f"{name}: the PNG is cut short or damaged; copy or record it again") from None
    if len(pixels) != expected or not stream.eof:
        raise DepthReadError(f"{name}: the PNG holds fewer or more pixels than it says; copy or record it again")
    return pixels


def _png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(body, zlib.crc32(kind)))


# --------------------------------------------------------------------------------------------- TIFF

_TIFF_TYPES = {1: "B", 3: "H", 4: "I"}
_WIDTH, _HEIGHT, _BITS, _SAMPLES, _FORMAT = 256, 257, 258, 277, 339
_STRIPS, _STRIP_BYTES, _TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES = 273, 279, 322, 323, 324, 325
_READ_TAGS = {_WIDTH, _HEIGHT, _BITS, _SAMPLES, _FORMAT, _STRIPS, _STRIP_BYTES, _TILE_WIDTH, _TILE_HEIGHT, _TILES}
_READ_TAGS |= {_TILE_BYTES}
_MOST_STRIPS = 1 << 20

_QUIET = threading.Lock()  # OpenCV has one level of logging for all threads


def _tiff_tags(name: str, data: bytes) -> dict[int, tuple[int, ...]]:
    """What is needed of the tags of a TIFF's first image; each may be there once."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None:
        raise DepthReadError(f"{name}: expected a TIFF, got something else (BigTIFF is not read)")
    tags: dict[int, tuple[int, ...]] = {}
    (at,) = struct.unpack_from(order + "I", data, 4)
    (entries,) = struct.unpack_from(order + "H", data, at)
    for entry in range(at + 2, at + 2 + 12 * entries, 12):
        tag, kind, count = struct.unpack_from(order + "HHI", data, entry)
        if tag not in _READ_TAGS:
            continue
        if tag in tags or kind not in _TIFF_TYPES or not 0 < count <= _MOST_STRIPS:
            raise ValueError
        values = f"{order}{count}{_TIFF_TYPES[kind]}"
        place = entry + 8 if struct.calcsize(values) <= 4 else struct.unpack_from(order + "I", data, entry + 8)[0]
        tags[tag] = struct.unpack_from(values, data, place)
    return tags


def _tiff_header(name: str, data: bytes) -> tuple[int, int, np.dtype]:
    """Height, width and type of the first image of a TIFF file, whose pixels all lie within the file."""
    try:
        tags = _tiff_tags(name, data)
        (width,), (height,) = tags[_WIDTH], tags[_HEIGHT]
        (tile_width,), (tile_height,) = tags.get(_TILE_WIDTH, (1,)), tags.get(_TILE_HEIGHT, (1,))
        places = tags[_TILES] if _TILES in tags else tags[_STRIPS]
        lengths = tags.get(_TILE_BYTES) or tags.get(_STRIP_BYTES) or (1,) * len(places)
        if any(not 0 < place < place + length <= len(data) for place, length in zip(places, lengths, strict=True)):
            raise ValueError
    except (struct.error, KeyError, ValueError):
        raise DepthReadError(f"{name}: the TIFF is cut short or damaged; copy or record it again") from None
    _check_size(name, height, width)
    _check_size(name, tile_height, tile_width)
    bits, samples, kind = tags.get(_BITS, (1,)), tags.get(_SAMPLES, (1,)), tags.get(_FORMAT, (1,))
    types = {(16, 1): np.uint16, (16, 2): np.int16, (32, 3): np.float32}
    dtype = types.get((bits[0], kind[0])) if len(bits) == len(kind) == 1 else None
    if dtype is None and samples == (1,) and bits[0] > 16:
        raise DepthReadError(f"{name}: TIFFs of {bits[0]} bits are not read; save 16-bit integers or 32-bit floats")
    if dtype is None or samples != (1,):
        raise _refuse_picture(name, f"a TIFF of {samples[0]} channels, {bits[0]} bits")
    return height, width, np.dtype(dtype)


def _read_tiff(name: str, data: bytes, nyu: bool) -> np.ndarray:
    _only_png_is_nyu(name, nyu)
    height, width, dtype = _tiff_header(name, data)
    with _QUIET:  # its lines about damaged files would go to stderr; ours says it all
        level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        image = _decode(data)
        cv2.utils.logging.setLogLevel(level)
    if image is None or image.shape != (height, width) or image.dtype.itemsize != dtype.itemsize:
        raise DepthReadError(f"{name}: the TIFF does not decode; copy or record it again")
    return image.view(dtype)


# -------------------------------------------------------------------------------------------- numpy


# The header is the text of a dictionary, which numpy evaluates; three values are all that is needed of it.
_NPY_HEADER = 10_000  # bytes, more than any header of a depth image
_NPY_VALUES = tuple(
    re.compile(pattern)
    for pattern in (
        rb"'descr':\s*'([<>=|]?[uif][1248])'",
        rb"'fortran_order':\s*(True|False)",
        rb"'shape':\s*\((\d{1,9})L?,\s*(\d{1,9})L?,?\s*\)",
    )
)


def _read_npy_stream(name: str, file: BinaryIO) -> np.ndarray:
    """One `.npy` from an open file, its header checked before its pixels are read."""
    head = file.read(_NPY_HEADER)
    start = 12 if head[6:7] in (b"\2", b"\3") else 10
    if head[:6] != b"\x93NUMPY" or head[6:7] not in (b"\1", b"\2", b"\3") or len(head) < start:
        raise DepthReadError(f"{name}: not a numpy array file, or cut short")
    start += int.from_bytes(head[8:start], "little")
    text = head[:start]
    descr, fortran, shape = (pattern.search(text) for pattern in _NPY_VALUES)
    if start > len(head) or not (descr and fortran and shape):
        raise DepthReadError(f"{name}: expected an (H, W) array of numbers, got {text[10:200]!r}")
    dtype, height, width = np.dtype(descr[1].decode()), int(shape[1]), int(shape[2])
    _check_size(name, height, width)
    if dtype.itemsize == 1:
        raise _refuse_picture(name, f"an array of {dtype}")
    wanted = height * width * dtype.itemsize
    data = head[start:] + file.read(max(0, wanted + 1 - (len(head) - start)))
    if len(data) != wanted:
        raise DepthReadError(
            f"{name}: ({height}, {width}) {dtype} needs {wanted} bytes, the file has "
            f"{'fewer' if len(data) < wanted else 'more'}; copy or record it again"
        )
    return np.frombuffer(data, dtype).reshape((height, width), order="F" if fortran[1] == b"True" else "C")


def _read_npy(name: str, data: bytes, nyu: bool) -> np.ndarray:
    _only_png_is_nyu(name, nyu)
    return _read_npy_stream(name, io.BytesIO(data))


def _read_npz(name: str, data: bytes, nyu: bool) -> np.ndarray:
    _only_png_is_nyu(name, nyu)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            wanted = "depth.npy" if "depth.npy" in names else names[0] if len(names) == 1 else None
            if wanted is None:
                raise DepthReadError(f"{name}: expected one array, or one named depth, got {str(names)[:100]}")
            if archive.getinfo(wanted).compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise DepthReadError(f"{name}: not packed as numpy packs; save it with numpy.savez_compressed")
            with archive.open(wanted) as file:
                return _read_npy_stream(name, file)  # type: ignore[arg-type]
    except DepthReadError:
        raise
    except Exception as error:  # damaged archives make zipfile fail in ways it does not document
        raise DepthReadError(f"{name}: not a readable .npz ({str(error)[:100]}); copy or record it again") from None


# --------------------------------------------------------------------------------------------- MSRA


def _read_msra(name: str, data: bytes, nyu: bool) -> np.ndarray:
    """MSRA's `.bin`: six int32 (image width, height, then left, top, right, bottom) and the window's float32 mm."""
    _only_png_is_nyu(name, nyu)
    if len(data) < 24:
        raise DepthReadError(f"{name}: expected MSRA's 24-byte header, got {len(data)} bytes")
    width, height, left, top, right, bottom = struct.unpack_from("<6i", data)
    _check_size(name, height, width)
    if not (0 <= left <= right <= width and 0 <= top <= bottom <= height):
        raise DepthReadError(
            f"{name}: the header's window {left},{top} to {right},{bottom} is not inside its {width} x {height} image"
        )
    wanted = 24 + 4 * (right - left) * (bottom - top)
    if len(data) != wanted:
        raise DepthReadError(f"{name}: the header asks for {wanted} bytes, got {len(data)}; copy it again")
    depth = np.zeros((height, width), np.float32)
    depth[top:bottom, left:right] = np.frombuffer(data, "<f4", offset=24).reshape(bottom - top, right - left)
    return depth


def _only_png_is_nyu(name: str, nyu: bool) -> None:
    if nyu:
        raise DepthReadError(f"{name}: unit nyu is a coding of PNG files; give the unit of this file's numbers")


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
    sample = depth[::4, ::4]
    readings = sample[sample > 0]
    if len(readings) < 50:
        return
    near = float(np.partition(readings, len(readings) // 50)[len(readings) // 50])  # 2 % are nearer
    if _HAND_RANGE[0] <= near <= _HAND_RANGE[1]:
        return
    likely = [
        text
        for text, other in _COMMON_UNITS.items()
        if 150.0 <= near / factor * other <= 1500.0 and not (integers and text == "m")
    ]
    hint = f"; its unit is likely {likely[0]}" if likely else ""
    warn(
        f"{name}: the nearest surface is at {near:,.0f} mm, where no hand can be measured{hint}",
        DepthUnitWarning,
    )
