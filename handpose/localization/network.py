"""The localizer network: its dimensions, layers and weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

NEAREST, FARTHEST = 100.0, 2000.0
"""Range of distances in mm in which hands are localized."""

VIEW_FOCAL = 80.0
"""Focal length of the view, the coarse copy of the image, in px."""

VIEW_STRIDE = 32
"""The height and width of the view in px are multiples of this."""

MIN_VIEW = (96, 128)
"""Minimum height and width of the view in px. The image is in its middle, with no depth values around it."""

MARGIN = 6
"""Minimum distance in px from the image to each side of the view."""

CELL = 2
"""Distance in view pixels from one voting cell to the next."""

CELL_VALUES = 4
"""Number of values per cell: the logit and the offset."""

OFFSET_MM = 100.0
"""Length in mm of an offset of 1.0."""

WEIGHTS_FILE = Path(__file__).with_name("localizer.safetensors")
GRAPH_FILE = WEIGHTS_FILE.with_suffix(".onnx")
"""The network with these weights as an ONNX file, which `export_localizer` writes."""

CHANNELS = {
    "enter": (2, 16),
    "quarter1": (16, 24),
    "quarter2": (24, 32),
    "eighth1": (32, 48),
    "eighth2": (48, 48),
    "sixteenth1": (48, 64),
    "sixteenth2": (64, 64),
    "thirtysecond1": (64, 64),
    "thirtysecond2": (64, 64),
    "up_sixteenth": (64, 48),
    "up_eighth": (48, 32),
    "up_quarter": (32, 24),
    "votes": (24, 4 * CELL_VALUES),
}
"""Input and output channels of each 3x3 convolution."""

Votes = Callable[[np.ndarray], np.ndarray]
"""The network: maps channels (1, 2, h, w) to the values of 2 x 2 cells per pixel, (1, 16, h/4, w/4), all float32."""

Array = Any
"""An array of numpy or a tensor of PyTorch."""


def votes_network(x: Array, convolve: Callable[[str, Array, int], Array], double: Callable[[Array], Array]) -> Array:
    """Compute the logit and the offset of each cell, in any array library.

    Args:
        x: Channels, the network input.
        convolve: Maps (name, x, stride) to the output of the named convolution, with a ReLU unless it is the last.
        double: Nearest-neighbor upsampling by two.
    """
    x = convolve("quarter1", convolve("enter", x, 2), 2)
    quarter = convolve("quarter2", x, 1)
    eighth = convolve("eighth2", convolve("eighth1", quarter, 2), 1)
    sixteenth = convolve("sixteenth2", convolve("sixteenth1", eighth, 2), 1)
    x = convolve("thirtysecond2", convolve("thirtysecond1", sixteenth, 2), 1)
    x = convolve("up_sixteenth", double(x) + sixteenth, 1)
    x = convolve("up_eighth", double(x) + eighth, 1)
    x = convolve("up_quarter", double(x) + quarter, 1)
    return convolve("votes", x, 1)


def read_weights() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Read the kernel (O, C, 3, 3) and the bias (O,) of each convolution, float32."""
    tensors = {name: tensor.astype(np.float32) for name, tensor in load_file(WEIGHTS_FILE).items()}
    return {name: (tensors[f"{name}.weight"], tensors[f"{name}.bias"]) for name in CHANNELS}
