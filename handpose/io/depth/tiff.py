"""Reads depth from TIFF files."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from typing import BinaryIO

import cv2
import numpy as np

from handpose.errors import DepthReadError
from handpose.io.depth.limits import MAX_FRAMES, check_size, not_depth, reject_coding, several_frames
from handpose.io.depth.png import decode_pixels
from handpose.io.depth.units import Coding

_TIFF_TYPES = {1: "B", 3: "H", 4: "I"}
_WIDTH, _HEIGHT, _BITS, _SAMPLES, _FORMAT = 256, 257, 258, 277, 339
_STRIPS, _STRIP_BYTES, _TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES = 273, 279, 322, 323, 324, 325
_READ_TAGS = {_WIDTH, _HEIGHT, _BITS, _SAMPLES, _FORMAT, _STRIPS, _STRIP_BYTES, _TILE_WIDTH, _TILE_HEIGHT, _TILES}
_READ_TAGS |= {_TILE_BYTES}
_MAX_STRIPS = 1 << 20
_PAGE_KIND, _NO_IMAGE = 254, 0b101  # tag; a reduced copy of another page, or a mask

_LOG_LEVEL = threading.Lock()  # OpenCV has one log level for all threads


def _tiff_tags(name: str, data: bytes) -> dict[int, tuple[int, ...]]:
    """Return the tags of the first image that are needed. Each may occur once."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None:
        raise DepthReadError(f"{name}: expected a TIFF, got another format (BigTIFF is not supported)")
    tags: dict[int, tuple[int, ...]] = {}
    (at,) = struct.unpack_from(order + "I", data, 4)
    (entries,) = struct.unpack_from(order + "H", data, at)
    for entry in range(at + 2, at + 2 + 12 * entries, 12):
        tag, kind, count = struct.unpack_from(order + "HHI", data, entry)
        if tag not in _READ_TAGS:
            continue
        if tag in tags or kind not in _TIFF_TYPES or not 0 < count <= _MAX_STRIPS:
            raise ValueError
        values = f"{order}{count}{_TIFF_TYPES[kind]}"
        start = entry + 8 if struct.calcsize(values) <= 4 else struct.unpack_from(order + "I", data, entry + 8)[0]
        tags[tag] = struct.unpack_from(values, data, start)
    return tags


def _tiff_header(name: str, data: bytes) -> tuple[int, int, np.dtype]:
    """Return the height, width and type of the first image, after checking that its pixels lie within the file."""
    try:
        tags = _tiff_tags(name, data)
        (width,), (height,) = tags[_WIDTH], tags[_HEIGHT]
        (tile_width,), (tile_height,) = tags.get(_TILE_WIDTH, (1,)), tags.get(_TILE_HEIGHT, (1,))
        starts = tags[_TILES] if _TILES in tags else tags[_STRIPS]
        lengths = tags.get(_TILE_BYTES) or tags.get(_STRIP_BYTES) or (1,) * len(starts)
        if any(not 0 < start < start + length <= len(data) for start, length in zip(starts, lengths, strict=True)):
            raise ValueError
    except (struct.error, KeyError, ValueError):
        raise DepthReadError(f"{name}: the TIFF is truncated or damaged; copy or record it again") from None
    check_size(name, height, width)
    check_size(name, tile_height, tile_width)
    bits, samples, kind = tags.get(_BITS, (1,)), tags.get(_SAMPLES, (1,)), tags.get(_FORMAT, (1,))
    types = {(16, 1): np.uint16, (16, 2): np.int16, (32, 3): np.float32}
    dtype = types.get((bits[0], kind[0])) if len(bits) == len(kind) == 1 else None
    if dtype is None and samples == (1,) and bits[0] > 16:
        raise DepthReadError(
            f"{name}: TIFFs of {bits[0]} bits are not supported; save 16-bit integers or 32-bit floats"
        )
    if dtype is None or samples != (1,):
        raise not_depth(name, f"a TIFF of {samples[0]} channels, {bits[0]} bits")
    return height, width, np.dtype(dtype)


def read_tiff(name: str, data: bytes, coding: Coding | None) -> np.ndarray:
    """Read the values (H, W) of a TIFF with 16-bit integers or 32-bit floats."""
    reject_coding(name, coding)
    if (pages := len(_pages(data))) > 1:
        raise several_frames(name, pages)
    return _read_first(name, data)


def count_tiff(name: str, file: BinaryIO) -> int:
    """Return the number of pages of a TIFF."""
    return max(1, len(_pages(file.read())))


def tiff_frames(name: str, file: BinaryIO) -> Iterator[np.ndarray]:
    """Yield the pages (H, W) of a TIFF."""
    data = bytearray(file.read())
    for page in _pages(data):
        struct.pack_into("<I" if data[:2] == b"II" else ">I", data, 4, page)
        yield _read_first(name, bytes(data))


def _pages(data: bytes | bytearray) -> list[int]:
    """Return the offsets of the pages of a TIFF, without reduced copies and masks.

    In a truncated file, the last offset is the end of the file, so that the loss of further pages is reported.
    """
    order = "<" if data[:2] == b"II" else ">"
    pages: list[int] = []
    try:
        (at,) = struct.unpack_from(order + "I", data, 4)
        seen = set[int]()
        while at and at not in seen and len(pages) <= MAX_FRAMES:
            seen.add(at)
            (entries,) = struct.unpack_from(order + "H", data, at)
            end = at + 2 + 12 * entries
            (following,) = struct.unpack_from(order + "I", data, end)
            kinds = [
                struct.unpack_from(order + "I", data, entry + 8)[0]
                for entry in range(at + 2, end, 12)
                if struct.unpack_from(order + "H", data, entry)[0] == _PAGE_KIND
            ]
            if not (kinds and kinds[0] & _NO_IMAGE):
                pages.append(at)
            at = following
    except struct.error:
        pages.append(len(data))
    return pages


def _read_first(name: str, data: bytes) -> np.ndarray:
    """Read the first page."""
    height, width, dtype = _tiff_header(name, data)
    with _LOG_LEVEL:  # OpenCV would print messages about damaged files, which raise an error below
        level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        image = decode_pixels(data)
        cv2.utils.logging.setLogLevel(level)
    if image is None or image.shape != (height, width) or image.dtype.itemsize != dtype.itemsize:
        raise DepthReadError(f"{name}: the TIFF does not decode; copy or record it again")
    return image.view(dtype)
