"""Limits of depth files, and errors for files that are rejected."""

from __future__ import annotations

from handpose.errors import DepthReadError
from handpose.io.depth.units import Coding

MAX_PIXELS = 50_000_000
"""Maximum number of pixels. Larger images are rejected before memory is allocated."""

MAX_FILE_BYTES = 1 << 30
"""Maximum size of a depth file, in bytes."""


MAX_FRAMES = 100_000
"""Maximum number of frames in a depth file."""


def check_size(name: str, height: int, width: int) -> None:
    """Check that an image has between one and `MAX_PIXELS` pixels.

    Raises:
        DepthReadError: It has not.
    """
    if height <= 0 or width <= 0 or height * width > MAX_PIXELS:
        raise DepthReadError(
            f"{name}: the header declares {width} x {height} px; expected between 1 and {MAX_PIXELS} pixels, so the "
            "file is damaged or not a depth image"
        )


def not_depth(name: str, description: str) -> DepthReadError:
    """Return the error for a file that contains a picture instead of depth."""
    return DepthReadError(
        f"{name}: is {description}, which cannot store millimeters; expected one 16-bit channel. Save the "
        "raw depth of the camera"
    )


def reject_coding(name: str, coding: Coding | None) -> None:
    """Reject the units `nyu` and `ho3d` for formats other than PNG.

    Args:
        name: Name of the file in error messages.
        coding: The unit, if it is one of these.

    Raises:
        DepthReadError: The unit is one of these.
    """
    if coding:
        raise DepthReadError(
            f"{name}: unit {coding} is a coding of PNG files; pass the unit of the values of this file"
        )


def several_frames(name: str, count: int) -> DepthReadError:
    """Return the error for a file with several frames where one is expected."""
    return DepthReadError(
        f"{name}: contains {count} frames, but one is expected; pass the file to handpose predict, put it in a folder "
        "for handpose live, or pass a list of arrays (H, W) in Python"
    )
