"""Limits of depth files, and errors for files that are rejected."""

from __future__ import annotations

from handpose.errors import DepthReadError

MAX_PIXELS = 50_000_000
"""Maximum number of pixels. Larger images are rejected before memory is allocated."""

MAX_FILE_BYTES = 1 << 30
"""Maximum size of a depth file, in bytes."""


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
        "raw depth of the camera (for NYU's two-byte coding, pass unit nyu)"
    )


def reject_nyu(name: str, nyu: bool) -> None:
    """Reject the unit `nyu` for formats other than PNG.

    Args:
        name: Name of the file in error messages.
        nyu: Whether the unit is `nyu`.

    Raises:
        DepthReadError: The unit is `nyu`.
    """
    if nyu:
        raise DepthReadError(f"{name}: unit nyu is a coding of PNG files; pass the unit of the values of this file")
