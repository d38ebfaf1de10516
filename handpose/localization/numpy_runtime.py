"""The localiser's network in numpy."""

from __future__ import annotations

import functools

import numpy as np
from numpy.lib.stride_tricks import as_strided

from handpose.localization.network import read_weights, votes_network

_SMALL_PRODUCT = 250_000  # multiplications that OpenBLAS still does in one thread


def votes_in_numpy(channels: np.ndarray) -> np.ndarray:
    """The network in numpy, as `Votes` says: always there, and in the calling thread alone."""
    votes: np.ndarray = votes_network(channels[0].transpose(1, 2, 0), _convolve, _double).transpose(2, 0, 1)[None]
    return votes


def _convolve(name: str, x: np.ndarray, stride: int) -> np.ndarray:
    """A 3x3 convolution of (h, w, C), zero-padded by one, with ReLU unless it is the last."""
    weight, bias = convolution_weights()[name]
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
def convolution_weights() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Per convolution its weight (3*3*C, O) and bias (O,), float32."""
    return {
        name: (np.ascontiguousarray(weight.transpose(2, 3, 1, 0).reshape(-1, len(bias))), bias)
        for name, (weight, bias) in read_weights().items()
    }
