"""What a depth file may be: its size, and what is refused."""

from __future__ import annotations

from handpose.errors import DepthReadError

MAX_PIXELS = 50_000_000
"""Files that claim more are refused before anything is allocated."""

LARGEST_FILE = 1 << 30
"""Bytes that no depth image comes near."""


def check_size(name: str, height: int, width: int) -> None:
    """Checks that an image has between one and `MAX_PIXELS` pixels."""
    if height <= 0 or width <= 0 or height * width > MAX_PIXELS:
        raise DepthReadError(
            f"{name}: says it is {width} x {height} px; expected between 1 and {MAX_PIXELS} pixels, so it is "
            "damaged or no depth image"
        )


def refuse_picture(name: str, what: str) -> DepthReadError:
    """The error for a file that holds a picture instead of depth."""
    return DepthReadError(
        f"{name}: is {what}, which cannot hold millimetres; expected one 16-bit channel. Save the camera's raw "
        "depth (for NYU's two-byte coding give unit nyu)"
    )


def only_png_is_nyu(name: str, nyu: bool) -> None:
    """Checks that the unit `nyu` is not asked of another format than PNG."""
    if nyu:
        raise DepthReadError(f"{name}: unit nyu is a coding of PNG files; give the unit of this file's numbers")
