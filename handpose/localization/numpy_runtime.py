"""Runs the localizer network in numpy."""

from __future__ import annotations

import functools

import numpy as np
from numpy.lib.stride_tricks import as_strided

from handpose.localization.network import read_weights, votes_network

_MAX_PRODUCT = 250_000  # multiplications up to which OpenBLAS uses one thread


def votes_in_numpy(channels: np.ndarray) -> np.ndarray:
    """Run the network in the calling thread. It maps channels (1, 2, h, w) to votes (1, 16, h/4, w/4), float32."""
    votes: np.ndarray = votes_network(channels[0].transpose(1, 2, 0), _convolve, _double).transpose(2, 0, 1)[None]
    return votes


def _convolve(name: str, x: np.ndarray, stride: int) -> np.ndarray:
    """Convolve (h, w, C) with the named 3x3 kernel and a zero padding of 1, then apply ReLU unless it is the last."""
    weight, bias = convolution_weights()[name]
    height, width, channels = x.shape
    padded = np.zeros((height + 2, width + 2, channels), np.float32)
    padded[1:-1, 1:-1] = x
    # Three neighbors in a row are adjacent in memory: three long copies per window instead of nine short ones.
    down, right, _ = padded.strides
    windows = as_strided(
        padded,
        (height // stride, width // stride, 3, 3 * channels),
        (down * stride, right * stride, down, padded.itemsize),
    ).reshape(height // stride, width // stride, 9 * channels)
    # Larger matrix products would start the threads of numpy's BLAS, which compete with those of torch.
    pieces = -(-windows[0].size * len(bias) // _MAX_PRODUCT)
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
    """Return the weight (3*3*C, O) and the bias (O,) of each convolution, float32."""
    return {
        name: (np.ascontiguousarray(weight.transpose(2, 3, 1, 0).reshape(-1, len(bias))), bias)
        for name, (weight, bias) in read_weights().items()
    }
