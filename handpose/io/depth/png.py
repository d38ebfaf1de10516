"""Reads depth from PNG files."""

from __future__ import annotations

import functools
import struct
import zlib

import cv2
import numpy as np

from handpose.errors import DepthReadError
from handpose.io.depth.limits import check_size, not_depth


def decode_pixels(data: bytes) -> np.ndarray | None:
    """Decode an image file with OpenCV; return None if that fails."""
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None


_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PNG_HEADER = 33  # bytes: the magic number and the first chunk
_PASSES = {  # per interlace method: first column and row of each pass, and the steps to the next column and row
    0: [(0, 0, 1, 1)],
    1: [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)],
}


def _png_header(name: str, head: bytes, nyu: bool) -> list[tuple[int, int]]:
    """Check that the file is a depth image, and return the rows and the bytes per row of each pass."""
    if len(head) < _PNG_HEADER or head[:8] != _PNG_MAGIC or head[8:16] != b"\0\0\0\rIHDR":
        raise DepthReadError(f"{name}: expected a PNG, got {len(head)} bytes of another format or a truncated file")
    width, height, bits, color, compression, filtering, interlace = struct.unpack(">II5B", head[16:29])
    check_size(name, height, width)
    if nyu and (bits, color) != (8, 2):
        raise DepthReadError(f"{name}: NYU's coding is an 8-bit RGB PNG, got {bits}-bit, color type {color}")
    if not nyu and (bits, color) != (16, 0):
        kind = {0: "gray", 2: "RGB", 3: "palette", 4: "gray with alpha", 6: "RGBA"}.get(color, "unknown")
        raise not_depth(name, f"{'an' if bits == 8 else 'a'} {bits}-bit {kind} PNG")
    if (compression, filtering) != (0, 0) or interlace not in _PASSES:
        raise DepthReadError(f"{name}: the PNG's header is damaged; copy or record it again")
    sizes = [(-((y - height) // dy), -((x - width) // dx)) for x, y, dx, dy in _PASSES[interlace]]
    return [(rows, 1 + columns * (3 if nyu else 2)) for rows, columns in sizes if rows > 0 and columns > 0]


def read_png(name: str, data: bytes, nyu: bool) -> np.ndarray:
    """Read the values (H, W) of a 16-bit PNG, or of a PNG in NYU's two-byte coding."""
    passes = _png_header(name, data[:_PNG_HEADER], nyu)
    pixels = _png_pixels(name, data, sum(rows * length for rows, length in passes))
    start = 0
    for rows, length in passes:
        if max(pixels[start : start + rows * length : length]) > 4:
            raise DepthReadError(f"{name}: a row of the PNG has an unknown filter; copy or record it again")
        start += rows * length
    # Other chunks are dropped: they could change the decoded values, and libpng prints messages about them.
    image = decode_pixels(_uncompressed(data[:_PNG_HEADER], pixels))
    if image is None:
        raise DepthReadError(f"{name}: the PNG does not decode; copy or record it again")
    if nyu:
        coded: np.ndarray = image[..., 1].astype(np.uint16) * 256 + image[..., 0]  # green, blue
        return coded
    return image


def _png_pixels(name: str, data: bytes, expected: int) -> bytes:
    """Return the filtered rows, after checking the length and checksum of every chunk and the number of bytes.

    libpng returns incomplete images from damaged files and only prints a message.
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
                raise DepthReadError(f"{name}: contains an unknown critical PNG chunk {kind!r}")
            at += 12 + length
        pixels = stream.decompress(packed[0] if len(packed) == 1 else b"".join(packed), expected + 1)
    except (struct.error, zlib.error):
        raise DepthReadError(f"{name}: the PNG is truncated or damaged; copy or record it again") from None
    if len(pixels) != expected or not stream.eof:
        raise DepthReadError(
            f"{name}: the PNG contains a different number of pixels than its header declares; copy or record it again"
        )
    return pixels


_MAX_BLOCK = 0xFFFF  # bytes of a block that is stored without compression


def _uncompressed(header: bytes, pixels: bytes) -> bytes:
    """Return a PNG of filtered rows that OpenCV decodes without decompressing them a second time.

    `zlib.compress(pixels, 0)` would produce the same stream, but copies the rows three more times.
    """
    view = memoryview(pixels)
    stream: list[bytes | memoryview] = [b"\x78\x01"]  # the header of a zlib stream
    for start in range(0, len(pixels), _MAX_BLOCK):
        block = view[start : start + _MAX_BLOCK]
        last = start + _MAX_BLOCK >= len(pixels)
        stream += [struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF), block]
    stream.append(struct.pack(">I", zlib.adler32(pixels)))
    crc = functools.reduce(lambda crc, part: zlib.crc32(part, crc), stream, zlib.crc32(b"IDAT"))
    length = sum(map(len, stream))
    end = struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND"))
    return b"".join([header, struct.pack(">I4s", length, b"IDAT"), *stream, struct.pack(">I", crc), end])
