"""Reads depth from PNG files."""

from __future__ import annotations

import functools
import struct
import zlib

import cv2
import numpy as np

from handpose.errors import DepthReadError
from handpose.io.depth.limits import check_size, not_depth
from handpose.io.depth.units import Coding, likely_coding


def decode_pixels(data: bytes) -> np.ndarray | None:
    """Decode an image file with OpenCV; return None if that fails."""
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None


_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PNG_HEADER = 33  # bytes: the magic number and the first chunk
_END = struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND"))
_MAX_BLOCK = 0xFFFF  # bytes of a block of a zlib stream that is not compressed
_PASSES = {  # per interlace method: first column and row of each pass, and the steps to the next column and row
    0: [(0, 0, 1, 1)],
    1: [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)],
}


def _png_header(name: str, head: bytes, coding: Coding | None) -> list[tuple[int, int]]:
    """Check that the file is a depth image, and return the rows and the bytes per row of each pass."""
    if len(head) < _PNG_HEADER or head[:8] != _PNG_MAGIC or head[8:16] != b"\0\0\0\rIHDR":
        raise DepthReadError(f"{name}: expected a PNG, got {len(head)} bytes of another format or a truncated file")
    width, height, bits, color, compression, filtering, interlace = struct.unpack(">II5B", head[16:29])
    check_size(name, height, width)
    if coding and (bits, color) != (8, 2):
        raise DepthReadError(
            f"{name}: unit {coding} is a coding of 8-bit RGB PNGs, got {bits}-bit, color type {color}; pass the unit "
            "of the values of this file"
        )
    if not coding and (bits, color) != (16, 0):
        kind = {0: "gray", 2: "RGB", 3: "palette", 4: "gray with alpha", 6: "RGBA"}.get(color, "unknown")
        if (bits, color) == (8, 2):
            raise DepthReadError(
                f"{name}: is an 8-bit RGB PNG; expected one 16-bit channel. If it has two bytes per value, pass unit "
                "nyu (data set NYU) or ho3d (data set HO-3D); a color picture of depth cannot be used"
            )
        raise not_depth(name, f"{'an' if bits == 8 else 'a'} {bits}-bit {kind} PNG")
    if (compression, filtering) != (0, 0) or interlace not in _PASSES:
        raise DepthReadError(f"{name}: the PNG's header is damaged; copy or record it again")
    sizes = [(-((y - height) // dy), -((x - width) // dx)) for x, y, dx, dy in _PASSES[interlace]]
    return [(rows, 1 + columns * (3 if coding else 2)) for rows, columns in sizes if rows > 0 and columns > 0]


def read_png(name: str, data: bytes, coding: Coding | None) -> np.ndarray:
    """Read the values (H, W) of a 16-bit PNG, or of a PNG with two bytes per value."""
    passes = _png_header(name, data[:_PNG_HEADER], coding)
    image = decode_pixels(_unpack(name, data[:_PNG_HEADER], _png_stream(name, data), passes))
    if image is None:
        raise DepthReadError(f"{name}: the PNG does not decode; copy or record it again")
    return _decode_bytes(name, image, coding) if coding else image


def _decode_bytes(name: str, image: np.ndarray, coding: Coding) -> np.ndarray:
    """Return the values of a color image (H, W, 3), blue first: the high byte is green, the low byte blue or red."""
    low, other = (0, 2) if coding == "nyu" else (2, 0)
    if not image[..., low].any() and image[..., other].any():
        likely = likely_coding(_values(image, other))
        swap = f"swap red and blue, which programs such as OpenCV order differently, and pass unit {coding}"
        raise DepthReadError(
            f"{name}: the channel that stores the low byte in unit {coding} is empty, but another channel is not; "
            + (swap if likely == coding else f"pass unit {likely}")
        )
    return _values(image, low)


def _values(image: np.ndarray, low: int) -> np.ndarray:
    values: np.ndarray = image[..., 1].astype(np.uint16) * 256 + image[..., low]
    return values


def _png_stream(name: str, data: bytes) -> bytes:
    """Return the compressed rows, after checking the length and checksum of every chunk.

    libpng returns incomplete images from damaged files and only prints a message.
    """
    at, kind, packed = 8, b"", []
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
                raise DepthReadError(f"{name}: contains an unknown critical PNG chunk {kind!r}")
            at += 12 + length
    except struct.error:
        raise _damaged(name) from None
    return b"".join(packed)


def _unpack(name: str, header: bytes, packed: bytes, passes: list[tuple[int, int]]) -> bytes:
    """Return a PNG with the same rows, which OpenCV decodes without decompressing them a second time.

    The number of rows and their filters are checked. Other chunks are dropped: they could change the decoded values,
    and libpng prints messages about them. Decompressing in blocks keeps the buffers small; large buffers would be
    returned to the system after every file, and allocating them again takes longer than decompressing.
    """
    stream, rest = zlib.decompressobj(), packed
    parts: list[bytes] = [b"\x78\x01"]  # the header of a zlib stream
    try:
        for rows, length in passes:
            for start in range(0, rows * length, _MAX_BLOCK):
                size = min(_MAX_BLOCK, rows * length - start)
                block = stream.decompress(rest, size)
                rest = stream.unconsumed_tail
                if len(block) != size:
                    raise _other_count(name)
                if max(block[-start % length :: length], default=0) > 4:
                    raise DepthReadError(f"{name}: a row of the PNG has an unknown filter; copy or record it again")
                parts += [struct.pack("<BHH", 0, size, size ^ 0xFFFF), block]
        if stream.decompress(rest, 1) or not stream.eof:
            raise _other_count(name)
    except zlib.error:
        raise _damaged(name) from None
    end = len(packed) - len(stream.unused_data)
    checksum = packed[end - 4 : end]  # of the rows, so it is still valid
    parts += [struct.pack("<BHH", 1, 0, 0xFFFF), checksum]  # the last block is empty
    crc = functools.reduce(lambda crc, part: zlib.crc32(part, crc), parts, zlib.crc32(b"IDAT"))
    body = struct.pack(">I4s", sum(map(len, parts)), b"IDAT")
    return b"".join([header, body, *parts, struct.pack(">I", crc), _END])


def _damaged(name: str) -> DepthReadError:
    return DepthReadError(f"{name}: the PNG is truncated or damaged; copy or record it again")


def _other_count(name: str) -> DepthReadError:
    return DepthReadError(
        f"{name}: the PNG contains a different number of pixels than its header declares; copy or record it again"
    )
