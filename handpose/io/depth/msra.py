"""Depth in MSRA's files."""

from __future__ import annotations

import struct

import numpy as np

from handpose.errors import DepthReadError
from handpose.io.depth.limits import check_size, only_png_is_nyu


def read_msra(name: str, data: bytes, nyu: bool) -> np.ndarray:
    """MSRA's `.bin`: six int32 (image width, height, then left, top, right, bottom) and the window's float32 mm."""
    only_png_is_nyu(name, nyu)
    if len(data) < 24:
        raise DepthReadError(f"{name}: expected MSRA's 24-byte header, got {len(data)} bytes")
    width, height, left, top, right, bottom = struct.unpack_from("<6i", data)
    check_size(name, height, width)
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
