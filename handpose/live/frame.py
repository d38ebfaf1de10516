"""What every source gives, and how its SDK is loaded."""

from __future__ import annotations

from collections.abc import Generator
from typing import NamedTuple

import numpy as np

from handpose.geometry.camera import Camera


class DepthFrame(NamedTuple):
    """One depth image.

    Attributes:
        depth: (H, W) float32 mm, 0 = no reading.
        camera: its intrinsics.
        time: when it was taken, s; only differences mean something.
        unit: mm of which `depth` is a whole multiple, as cameras count.
    """

    depth: np.ndarray
    camera: Camera
    time: float
    unit: float = 1.0


Source = Generator[DepthFrame, None, None]
"""What every source is: a generator of frames. Closing it gives the device back."""
