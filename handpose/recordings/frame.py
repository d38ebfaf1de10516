"""The depth frame, which all sources yield."""

from __future__ import annotations

from collections.abc import Generator
from typing import NamedTuple

import numpy as np

from handpose.geometry.camera import Camera


class DepthFrame(NamedTuple):
    """One depth image of a stream.

    Attributes:
        depth: (H, W) float32 depth in mm, 0 = no depth value.
        camera: Intrinsics of the image.
        time: Capture time in s; only differences between frames are meaningful.
        unit: Depth resolution in mm; all values of `depth` are multiples of it.
        source: Name of the camera, path of the file, or path of the recording, `#` and the number of the frame.
    """

    depth: np.ndarray
    camera: Camera
    time: float
    unit: float = 1.0
    source: str = ""


Source = Generator[DepthFrame, None, None]
"""A generator of frames. Closing it releases the device."""
