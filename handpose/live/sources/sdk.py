"""Import of camera manufacturers' packages."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from handpose.errors import HandPoseError


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
