"""Samples a depth image on another pixel grid."""

from __future__ import annotations

import numpy as np

_OPPOSITE = ((0, 1), (1, 0), (1, 1), (1, -1))
"""Steps (down, right) to one neighbor of each opposite pair."""

_SAME_SURFACE = 30.0  # mm: above the depth change of a hand over two pixels, below the distance to its background
_PROBES = 64  # pixels that are checked to decide whether a regular grid of pixels is missing


def sample_depth(depth: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return the depth (R, C) at the intersections of `rows` and `columns`, 0 outside the image.

    If a regular grid of pixels is missing, as after registration to a larger color image, a hole between two opposite
    neighbors on one surface is filled with their mean. Other pixels are neither averaged nor filled: across a
    silhouette, that would invent surfaces.

    Args:
        depth: (H, W) mm, 0 = missing.
        rows: (R,) integer pixel indices, possibly outside the image.
        columns: (C,) integer pixel indices, possibly outside the image.
    """
    height, width = depth.shape
    row_inside, column_inside = (rows >= 0) & (rows < height), (columns >= 0) & (columns < width)
    rows, columns = (rows * row_inside).astype(np.intp), (columns * column_inside).astype(np.intp)
    first, last = columns.min(), columns.max()
    z = _as_float(depth[rows, first : last + 1].take(columns - first, axis=1))
    if not (row_inside.all() and column_inside.all()):
        z[~row_inside] = 0
        z[:, ~column_inside] = 0
    inner = ((rows > 0) & (rows < height - 1))[:, None] & ((columns > 0) & (columns < width - 1))

    def pixels(places: np.ndarray) -> np.ndarray:
        """Return the flat indices in the image of flat indices in `z`."""
        row, column = np.divmod(places, len(columns))
        return rows[row] * width + columns[column]  # type: ignore[no-any-return]

    measured = np.flatnonzero((z > 0) & inner)
    if _is_grid(depth, pixels(measured[:: len(measured) // _PROBES + 1])):
        holes = np.flatnonzero((z == 0) & inner)
        z.flat[holes] = _between_neighbors(depth, pixels(holes))
    return z


def _is_grid(depth: np.ndarray, pixels: np.ndarray) -> bool:
    """Return whether most pixels of flat indices (N,) lack both neighbors in their row, or both in their column."""
    down = depth.shape[1]
    left, right, above, below = (depth.take(pixels + step) == 0 for step in (-1, 1, -down, down))
    return bool(np.count_nonzero((left & right) | (above & below)) > len(pixels) / 2)


def _between_neighbors(depth: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Return the mean of two opposite neighbors on one surface for pixels of flat indices (N,); 0 if there are none."""
    filled = _as_float(np.zeros(len(pixels), depth.dtype))
    for down, right in _OPPOSITE:
        step = down * depth.shape[1] + right
        before, after = _as_float(depth.take(pixels - step)), _as_float(depth.take(pixels + step))
        between = (filled == 0) & (before > 0) & (after > 0) & (np.abs(before - after) < _SAME_SURFACE)
        filled[between] = (before[between] + after[between]) / 2
    return filled


def _as_float(values: np.ndarray) -> np.ndarray:
    """Return integers as floating-point numbers, because differences of unsigned ones would be wrong."""
    return values.astype(np.promote_types(values.dtype, np.float32), copy=False)
