"""Shared code of the camera sources: import of manufacturers' packages, and the description of a camera."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any, NamedTuple

from handpose.errors import HandPoseError

Size = tuple[int, int]
"""Width and height of an image in px."""


class ConnectedCamera(NamedTuple):
    """A camera that is connected to this machine.

    Attributes:
        name: Name of the source, such as `realsense:123456789`.
        model: The manufacturer's name of the camera.
        streams: Width, height and frames per second of its depth streams.
    """

    name: str
    model: str
    streams: tuple[tuple[int, int, float], ...]


def load_sdk(module: str, package: str, device: str) -> Any:
    """Import a camera manufacturer's Python package.

    Args:
        module: Module to import.
        package: Package that contains it, as pip installs it.
        device: Device, for the error message.

    Raises:
        HandPoseError: The package or one of its dependencies is not installed.
    """
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)  # some packages print from C++, but stdout is for results
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        raise HandPoseError(f"{device} requires the manufacturer's package: pip install {package}") from None
    except ImportError as error:
        raise HandPoseError(
            f"{package} is installed but cannot be imported ({error}); install its missing dependencies"
        ) from None
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)
