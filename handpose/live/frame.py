"""What every source gives, and how its SDK is loaded."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Generator
from typing import Any, NamedTuple

import numpy as np

from handpose.errors import HandPoseError
from handpose.geometry.camera import Camera


class Frame(NamedTuple):
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


Source = Generator[Frame, None, None]
"""What every source is: a generator of frames. Closing it gives the device back."""


def load_sdk(module: str, package: str, device: str) -> Any:
    """A camera maker's Python package, imported now.

    Raises:
        HandPoseError: it is not installed, or a library that it needs is missing.
    """
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)  # some greet from C++, and stdout is for results
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        raise HandPoseError(f"{device} needs its maker's package: pip install {package}") from None
    except ImportError as error:
        raise HandPoseError(f"{package} is installed but does not load ({error}); install what it misses") from None
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)
