"""Shows a picture in a notebook or in the viewer of the system."""

from __future__ import annotations

import sys
import tempfile
import webbrowser
from base64 import b64encode
from collections.abc import Sequence
from html import escape
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from handpose.errors import HandPoseError


def to_png(picture: np.ndarray) -> bytes:
    """Return a picture (H, W, 3) uint8 BGR as a PNG file."""
    return cv2.imencode(".png", picture)[1].tobytes()


def to_html(png: bytes | None, title: str, messages: Sequence[str]) -> str:
    """Return a title with a picture and messages as HTML for a notebook."""
    source = "" if png is None else f"data:image/png;base64,{b64encode(png).decode()}"
    image = f'<img src="{source}" alt="{escape(title)}" style="max-width: 100%">' if source else ""
    items = "".join(f"<li>{escape(message)}</li>" for message in messages)
    return f"<div>{image}<p>{escape(title)}</p>{f'<ul>{items}</ul>' if items else ''}</div>"


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
