"""Loading a camera's own software."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from handpose.errors import HandPoseError


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
