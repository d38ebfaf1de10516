"""Reads MSRA's `.bin` depth files."""

from __future__ import annotations

import struct

import numpy as np

from handpose.errors import DepthReadError
from handpose.io.depth.limits import check_size, reject_coding
from handpose.io.depth.units import Coding

_MAX_SIDE = 1 << 15  # px; raw depth values, read as a header of 32-bit numbers, usually exceed it


def read_msra(name: str, data: bytes, coding: Coding | None) -> np.ndarray:
    """Read the depth (H, W) in mm of an MSRA file.

    The file contains six int32 (width and height of the image; left, top, right and bottom of a window), and the depth
    in the window as float32.
    """
    reject_coding(name, coding)
    if len(data) < 24:
        raise DepthReadError(f"{name}: expected MSRA's 24-byte header, got {len(data)} bytes")
    width, height, left, top, right, bottom = struct.unpack_from("<6i", data)
    if not (0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE):
        raise DepthReadError(
            f"{name}: does not start with MSRA's header; if it contains raw values, convert it: "
            "numpy.save('depth.npy', numpy.fromfile('depth.bin', 'uint16').reshape(height, width))"
        )
    check_size(name, height, width)
    if not (0 <= left <= right <= width and 0 <= top <= bottom <= height):
        raise DepthReadError(
            f"{name}: the header's window {left},{top} to {right},{bottom} is not inside its {width} x {height} image"
        )
    expected = 24 + 4 * (right - left) * (bottom - top)
    if len(data) != expected:
        raise DepthReadError(f"{name}: the header declares {expected} bytes, got {len(data)}; copy it again")
    depth = np.zeros((height, width), np.float32)
    depth[top:bottom, left:right] = np.frombuffer(data, "<f4", offset=24).reshape(bottom - top, right - left)
    return depth
