"""Where the hand is: from a bare depth image to the centre of each hand's cube.

A small convolutional network looks at a coarse copy of the image, resampled to one focal length so that a hand's
size says how far it is. Every cell tells whether it lies on a hand, and votes for that hand's centre from its own
point in space: pixel-to-offset prediction (Fang et al. 2020, section 3.3) for a whole view. It runs in numpy, since
a copy of ten thousand cells needs no more.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from safetensors.numpy import load_file

from handpose.errors import HandPoseError
from handpose.geometry.camera import Camera
from handpose.io.text import LABELS, read_text

NEAREST, FARTHEST = 100.0, 2000.0
"""Distances in mm between which hands are looked for."""

VIEW_FOCAL = 80.0
"""Focal length of the coarse copy, px."""

VIEW_STRIDE = 32
"""The coarse copy's sides are multiples of this."""

CELL = 4
"""Pixels of the coarse copy from one voting cell to the next."""

OFFSET_MM = 100.0
"""What an offset of one means."""

WEIGHTS_FILE = Path(__file__).with_name("localizer.safetensors")

_HAND = 190.0  # mm from fingertip to wrist of a large hand
_AGREE = 60.0  # mm: votes closer than this are for one centre
_SURE = 0.1  # a cell with less probability does not vote
_ANOTHER = 0.25  # of the first hand's area, that a second one must have
_LARGEST_VIEW = 1 << 17  # px of the coarse copy: 138 degrees across at 4:3
_MOST_VOTES = 2000  # of a hand that fills the image at the nearest distance
_SMALL_PRODUCT = 250_000  # multiplications that OpenBLAS still does in one thread
_LEAST_AREA = 800.0  # mm^2 of surface, weighted by probability, that make a hand
CHANNELS = {  # of each 3x3 convolution: in, out
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
    "votes": (24, 4),
}
"""The network's convolutions: input and output channels of each."""

Votes = Callable[[np.ndarray], np.ndarray]
"""The network: from `coarse_channels` (1, 2, h, w) to each cell's logit and offset (1, 4, h/4, w/4), float32."""

Array = Any  # of numpy, of torch, or a graph's


def votes_network(x: Array, convolve: Callable[[str, Array, int], Array], double: Callable[[Array], Array]) -> Array:
    """A probability's logit and an offset per cell: what the network computes, in any array library.

    Args:
        x: what stands for `coarse_channels`.
        convolve: (name, x, stride) to the convolution of that name, with its ReLU unless it is the last.
        double: nearest-neighbour upsampling by two.
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


def localize_hands(depth: np.ndarray, camera: Camera, max_hands: int = 1) -> np.ndarray:
    """The centres of the hands that show most in a depth image, nearest first.

    Args:
        depth: (H, W) mm, 0 = no reading.
        camera: of `depth`.
        max_hands: how many to look for.

    Returns:
        (N, 3) xyz of the camera's frame in mm, N between 0 and `max_hands`.

    Raises:
        HandPoseError: `depth` is no image, or not of the camera's size.
    """
    return nearest_first(*hand_candidates(depth, camera, max_hands))


def nearest_first(centres: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """Those of `hand_candidates` that are hands beside the largest, (N, 3), by their distance."""
    centres = centres[areas >= _ANOTHER * areas.max(initial=0.0)]
    ordered: np.ndarray = centres[np.argsort(centres[:, 2])]
    return ordered


def votes_in_numpy(channels: np.ndarray) -> np.ndarray:
    """The network in numpy, as `Votes` says: always there, and in the calling thread alone."""
    votes: np.ndarray = votes_network(channels[0].transpose(1, 2, 0), _convolve, _double).transpose(2, 0, 1)[None]
    return votes


def hand_candidates(
    depth: np.ndarray, camera: Camera, most: int, network: Votes = votes_in_numpy
) -> tuple[np.ndarray, np.ndarray]:
    """Where hands may be: centres (N, 3) in mm and the area (N,) in mm^2 that speaks for each, largest first.

    Arguments and errors as in `localize_hands`; N is at most `most`, and `network` finds the votes.
    """
    if depth.ndim != 2:
        raise HandPoseError(f"depth must be (H, W) in mm, got {depth.shape}; read files with handpose.read_depth")
    view, points = _coarse_view(depth, camera.for_image(depth.shape[1], depth.shape[0]))
    votes = network(coarse_channels(view))[0].transpose(1, 2, 0)
    probability = 1.0 / (1.0 + np.exp(-votes[..., 0]))
    sure = np.flatnonzero((probability > _SURE) & (points[..., 2] > 0))
    if len(sure) > _MOST_VOTES:
        sure = sure[np.argsort(-probability.ravel()[sure])[:_MOST_VOTES]]
    likely, places, offsets = probability.ravel()[sure], points.reshape(-1, 3)[sure], votes.reshape(-1, 4)[sure, 1:]
    # What a cell stands for, mm^2: hands of all distances count alike.
    areas = likely * np.square(places[:, 2] * (CELL / VIEW_FOCAL))
    return _agreed(places + offsets * OFFSET_MM, areas, most)


def coarse_channels(view: np.ndarray) -> np.ndarray:
    """The network's input (1, 2, h, w) float32 from a coarse copy (h, w) in mm: log depth, and whether it is known."""
    known = (view > NEAREST) & (view < FARTHEST)
    logarithm = np.log(np.where(known, view, 400.0) / np.float32(400.0))
    return np.stack([logarithm, known.astype(np.float32)])[None].astype(np.float32)


def _coarse_view(depth: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """The image resampled to the coarse focal length, (h, w) mm, and the points of its cells, (h/4, w/4, 3) mm."""
    if depth.size * (VIEW_FOCAL / camera.fx) * (VIEW_FOCAL / camera.fy) > _LARGEST_VIEW:
        raise HandPoseError(
            f"a camera of focal lengths {camera.fx:g}, {camera.fy:g} px sees {depth.shape[1]} x {depth.shape[0]} px "
            "too wide for a pinhole; give the intrinsics of this very stream, or the hand's centre"
        )
    axes, directions = [], []
    for length, focal, middle in (
        (depth.shape[0], camera.fy, camera.cy),
        (depth.shape[1], camera.fx, camera.cx),
    ):
        pixels = np.arange(max(1, round(length * VIEW_FOCAL / focal)))
        source = np.minimum(((pixels + 0.5) * (focal / VIEW_FOCAL)).astype(int), length - 1)
        axes.append(source)
        directions.append((source - middle) / focal)
    inner = depth[np.ix_(*axes)]
    view = np.zeros([-(-length // VIEW_STRIDE) * VIEW_STRIDE for length in inner.shape], np.float32)
    view[: inner.shape[0], : inner.shape[1]] = np.where((inner > NEAREST) & (inner < FARTHEST), inner, 0.0)
    z = view[CELL // 2 :: CELL, CELL // 2 :: CELL]
    points = np.zeros((*z.shape, 3))
    y, x = (direction[CELL // 2 :: CELL] for direction in directions)
    points[: len(y), : len(x)] = np.stack([*np.meshgrid(x, y), np.ones((len(y), len(x)))], axis=-1)
    return view, points * z[..., None]


def _convolve(name: str, x: np.ndarray, stride: int) -> np.ndarray:
    """A 3x3 convolution of (h, w, C), zero-padded by one, with ReLU unless it is the last."""
    weight, bias = _weights()[name]
    height, width, channels = x.shape
    padded = np.zeros((height + 2, width + 2, channels), np.float32)
    padded[1:-1, 1:-1] = x
    # Three neighbours of a row lie side by side in memory: three long copies per window instead of nine short ones.
    down, right, _ = padded.strides
    windows = as_strided(
        padded,
        (height // stride, width // stride, 3, 3 * channels),
        (down * stride, right * stride, down, padded.itemsize),
    ).reshape(height // stride, width // stride, 9 * channels)
    # Row by row and in small products: larger ones wake the threads of numpy's BLAS, which then keep torch's waiting.
    pieces = -(-windows[0].size * len(bias) // _SMALL_PRODUCT)
    step = -(-len(bias) // pieces)
    out = np.empty((*windows.shape[:2], len(bias)), np.float32)
    for i in range(0, len(bias), step):
        np.matmul(windows, weight[:, i : i + step], out=out[..., i : i + step])
    out += bias
    if name != "votes":
        np.maximum(out, 0.0, out=out)
    return out


def _double(x: np.ndarray) -> np.ndarray:
    return np.repeat(np.repeat(x, 2, axis=0), 2, axis=1)


@functools.cache
def _weights() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Per convolution its weight (3*3*C, O) and bias (O,), float32."""
    return {
        name: (np.ascontiguousarray(weight.transpose(2, 3, 1, 0).reshape(-1, len(bias))), bias)
        for name, (weight, bias) in read_weights().items()
    }


def read_weights() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The network's weights: per convolution its kernel (O, C, 3, 3) and bias (O,), float32."""
    tensors = {name: tensor.astype(np.float32) for name, tensor in load_file(WEIGHTS_FILE).items()}
    return {name: (tensors[f"{name}.weight"], tensors[f"{name}.bias"]) for name in CHANNELS}


def _agreed(votes: np.ndarray, areas: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Where votes (V, 3) in mm agree, (N, 3), and how much area (N,) is behind each, largest first."""
    agree = np.linalg.norm(votes[:, None] - votes, axis=-1) < _AGREE
    centres: list[np.ndarray] = []
    behind: list[float] = []
    left = np.ones(len(votes), bool)
    while left.any() and len(centres) < most:
        support = np.where(left, (agree & left) @ areas, 0.0)
        best = int(support.argmax())
        if support[best] < _LEAST_AREA:
            break
        members = agree[best] & left
        centres.append(np.average(votes[members], axis=0, weights=areas[members]))
        behind.append(float(support[best]))
        left &= np.linalg.norm(votes - centres[-1], axis=1) > _HAND / 2
    return np.array(centres).reshape(-1, 3), np.array(behind)


def center_in_box(depth: np.ndarray, camera: Camera, box: tuple[float, float, float, float]) -> np.ndarray | None:
    """The centre (3,) of the nearest surface inside `box` (x, y, width, height in px), or none if it is empty."""
    x, y, width, height = box
    if not (np.abs(box) <= 1e9).all() or width <= 0 or height <= 0:
        raise HandPoseError(f"a box is x, y, width, height in px with a size above 0, got {box}")
    left, top = max(0, round(x)), max(0, round(y))
    window = depth[top : max(0, round(y + height)), left : max(0, round(x + width))]
    v, u = np.nonzero((window > NEAREST) & (window < 3 * FARTHEST))
    if len(u) == 0:
        return None
    z = window[v, u].astype(np.float64)
    # The hand fills a good part of its box and lies before what is behind it.
    hand = z < np.percentile(z, 5) + _HAND * 0.8
    points = camera.unproject(np.stack([u[hand] + left, v[hand] + top, z[hand]], axis=-1))
    return points.mean(axis=0)  # type: ignore[no-any-return]


def read_centers(path: str | Path, *, y_up: bool) -> np.ndarray:
    """Hand centres (N, 3) in mm, camera frame, from a text file with `x y z` per line, NaN where a line says `invalid`.

    This is the format of the refined centres that V2V-PoseNet published.

    Args:
        path: the file.
        y_up: the file's y axis points up, as in the NYU and MSRA files; ICVL's points down.

    Raises:
        HandPoseError: a line is neither three numbers nor `invalid`.
    """
    path = Path(path)
    centres = []
    for number, line in enumerate(read_text(path, LABELS).rstrip().splitlines(), 1):
        words = line.split()
        if words and words[0].lower() == "invalid":
            centres.append([np.nan] * 3)
            continue
        try:
            x, y, z = centre = [float(word) for word in words]
        except ValueError:
            centre = [math.nan]
        if not all(map(math.isfinite, centre)):
            raise HandPoseError(f"{path}, line {number}: expected x y z in mm or invalid, got {line[:60]!r}")
        centres.append([x, -y if y_up else y, z])
    return np.array(centres).reshape(-1, 3)
