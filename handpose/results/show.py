"""Shows a picture in a notebook or in the viewer of the system."""

from __future__ import annotations

import sys
import tempfile
import webbrowser
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from handpose.errors import HandPoseError


def to_png(picture: np.ndarray) -> bytes:
    """Return a picture (H, W, 3) uint8 BGR as a PNG file."""
    return cv2.imencode(".png", picture)[1].tobytes()


def show_picture(picture: np.ndarray) -> None:
    """Show a picture (H, W, 3) uint8 BGR below the cell of a notebook, or else in the browser, from a temporary file.

    Raises:
        HandPoseError: There is neither a notebook nor a browser.
    """
    ipython: Any = sys.modules.get("IPython")
    if ipython is not None and hasattr(ipython.get_ipython(), "kernel"):  # in a terminal, IPython has none
        display: Any = import_module("IPython.display")
        display.display(display.Image(to_png(picture)))
        return
    # The file must remain after this program ends, because the browser may read it later.
    with tempfile.NamedTemporaryFile(prefix="handpose-", suffix=".png", delete=False) as file:
        file.write(to_png(picture))
    path = Path(file.name)
    if not webbrowser.open(path.as_uri()):
        path.unlink()
        raise HandPoseError("no browser can show the picture; write the picture of `draw` to a file instead")
