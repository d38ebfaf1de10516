"""Locates the hands in a depth image.

The image is resampled to a small view with a fixed focal length, so that the size of a hand in pixels depends only on
its distance. The view has a margin without depth values, which shows the network where a window around a hand ends. A
small convolutional network classifies each cell of the view as hand or background and predicts the offset from the
cell's 3D point to the hand center, as the pixel-to-offset prediction of the pose network does (Fang et al. 2020,
section 3.3). Cells whose votes agree form one hand.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from handpose.errors import HandPoseError
from handpose.geometry.camera import Camera, CameraLike
from handpose.geometry.rectification import rectify
from handpose.io.arguments import check_count
from handpose.io.depth.read import to_depth
from handpose.localization.network import (
    CELL,
    CELL_VALUES,
    FARTHEST,
    MARGIN,
    MIN_VIEW,
    NEAREST,
    OFFSET_MM,
    VIEW_FOCAL,
    VIEW_STRIDE,
    Votes,
)
from handpose.localization.numpy_runtime import votes_in_numpy

HAND_LENGTH = 190.0
"""Distance in mm from the fingertips to the wrist of a large hand."""

MAX_VIEW_PIXELS = 1 << 17
"""Maximum size of the view, in px: a field of view of 138 degrees at 4:3."""

MAX_VOTES = 600
"""Maximum number of cells that vote. If a near hand covers more cells, every second or third one votes."""

_CELLS = slice(CELL // 2, None, CELL)  # rows and columns of the view that vote
_VOTE_RADIUS = 60.0  # mm; votes closer than this support the same center
_MIN_PROBABILITY = 0.1  # below which a cell does not vote
_FAINT_PROBABILITY = 0.02  # the same for faint candidates
_MIN_AREA_RATIO = 0.25  # of an additional hand's area to the area of the largest hand
_MIN_AREA = 800.0  # mm^2 of surface, weighted by probability
_FAINT_AREA = 100.0  # mm^2, the same for faint candidates


def localize_hands(depth: np.ndarray, camera: CameraLike, max_hands: int = 1) -> np.ndarray:
    """Locate the hands with the largest visible area in a depth image.

    Args:
        depth: (H, W) in mm, 0 = no depth value.
        camera: Intrinsics of `depth`, in any form that `Camera.of` accepts.
        max_hands: Maximum number of hands.

    Returns:
        Hand centers (N, 3) in mm in the camera frame, nearest first, with 0 <= N <= `max_hands`.

    Raises:
        HandPoseError: `depth` is not an image, has another size than the camera's images, or has too wide a field of
            view; or another argument is invalid.
    """
    check_count("max_hands", max_hands)
    return nearest_first(*hand_candidates(to_depth(depth), Camera.of(camera), max_hands))


def nearest_first(centers: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """Return the centers (N, 3) of the candidates that are large enough to be hands, nearest first."""
    centers = centers[areas >= _MIN_AREA_RATIO * areas.max(initial=0.0)]
    ordered: np.ndarray = centers[np.argsort(centers[:, 2])]
    return ordered


def hand_candidates(
    depth: np.ndarray, camera: Camera, max_candidates: int, network: Votes = votes_in_numpy, *, faint: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Locate the surfaces in a depth image that may be hands, largest visible area first.

    Args:
        depth: (H, W) in mm, 0 = no depth value.
        camera: Intrinsics of `depth`.
        max_candidates: Maximum number of candidates.
        network: Predicts the votes of the cells.
        faint: Whether to return unlikely candidates as well.

    Returns:
        Centers (N, 3) in mm in the camera frame, and the visible area (N,) of each candidate in mm^2.

    Raises:
        HandPoseError: See `localize_hands`.
    """
    view, rays = coarse_view(*rectify(depth, camera.for_image(depth.shape[1], depth.shape[0])))
    values = cell_values(network(coarse_channels(view))[0]).reshape(-1, CELL_VALUES)
    z = view[_CELLS, _CELLS].ravel()
    probability = 1.0 / (1.0 + np.exp(-values[:, 0]))
    cells = np.flatnonzero((probability > (_FAINT_PROBABILITY if faint else _MIN_PROBABILITY)) & (z > 0))
    step = max(1, -(-len(cells) // MAX_VOTES))
    cells = cells[::step]
    points = cell_points(rays.reshape(-1, 2)[cells], z[cells])
    # The surface that a cell covers grows with the square of its distance. In mm^2, near and far hands compare.
    areas = step * probability[cells] * np.square(points[:, 2] * (CELL / VIEW_FOCAL))
    centers = voted_centers(points, values[cells, 1:])
    ahead = centers[:, 2] > NEAREST / 2  # a vote can miss; no hand is behind the camera
    return _cluster(centers[ahead], areas[ahead], max_candidates, _FAINT_AREA if faint else _MIN_AREA)


def cell_values(votes: np.ndarray) -> np.ndarray:
    """Rearrange the network output (16, h/4, w/4) into the values (h/2, w/2, 4) of each cell."""
    height, width = votes.shape[1:]
    blocks = votes.reshape(CELL_VALUES, 2, 2, height, width)
    cells: np.ndarray = blocks.transpose(3, 1, 4, 2, 0).reshape(2 * height, 2 * width, CELL_VALUES)
    return cells


def voted_centers(points: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return the hand centers (V, 3) in mm that cells vote for.

    The z offset is along the ray of the cell, and the x and y offsets lead from there to the center. The offsets of a
    hand therefore do not depend on where it is in the image.

    Args:
        points: (V, 3) points of the cells, in mm.
        offsets: (V, 3) as predicted.
    """
    z = points[:, 2:] + offsets[:, 2:] * OFFSET_MM
    across = points[:, :2] * (z / points[:, 2:]) + offsets[:, :2] * OFFSET_MM
    return np.concatenate([across, z], axis=1)


def coarse_channels(view: np.ndarray) -> np.ndarray:
    """Return the network input (1, 2, h, w) float32 for a view (h, w) in mm: log depth, and a mask of known depth."""
    known = (view > NEAREST) & (view < FARTHEST)
    channels = np.empty((1, 2, *view.shape), np.float32)
    np.log(np.where(known, view, 400.0) / np.float32(400.0), out=channels[0, 0])
    channels[0, 1] = known
    return channels


def coarse_view(depth: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Resample an image to the view (h, w) in mm, and return it with the rays (h/2, w/2, 2), x/z and y/z, of its cells.

    Each view pixel is the depth at a pixel of the image or, without a depth value in range, at a neighbor within the
    same view pixel.
    """
    grid = _view_grid(*depth.shape, camera.fx, camera.fy, camera.cx, camera.cy)
    view = np.zeros(grid.shape, np.float32)
    sampled = view[grid.place]
    for rows in grid.rows:
        block = depth.take(rows, axis=0)
        for columns in grid.columns:
            # All neighbors are read, because selecting those of missing pixels would take longer.
            z = block.take(columns, axis=1)
            np.copyto(sampled, z, "same_kind", where=(sampled == 0) & (z > NEAREST) & (z < FARTHEST))
    return view, grid.rays


class _ViewGrid(NamedTuple):
    """The pixels and rays of the view of all images with the same size and intrinsics.

    Attributes:
        shape: Height and width of the view.
        place: Region of the view that shows the image.
        rows: Sampled rows (R,) of the image, and those of the neighbors below.
        columns: Sampled columns (C,) of the image, and those of the neighbors to the right.
        rays: (h/2, w/2, 2) x/z and y/z of the ray of each cell.
    """

    shape: tuple[int, int]
    place: tuple[slice, slice]
    rows: list[np.ndarray]
    columns: list[np.ndarray]
    rays: np.ndarray


@lru_cache(maxsize=64)
def _view_grid(height: int, width: int, fx: float, fy: float, cx: float, cy: float) -> _ViewGrid:
    if height * width * (VIEW_FOCAL / fx) * (VIEW_FOCAL / fy) > MAX_VIEW_PIXELS:
        raise HandPoseError(
            f"with focal lengths of {fx:g} and {fy:g} px, an image of {width} x {height} px has too wide a field of "
            "view; pass the intrinsics of this stream, or the hand center"
        )
    sides, places, pixels, tangents = [], [], [], []
    for length, min_length, focal, principal in ((height, MIN_VIEW[0], fy, cy), (width, MIN_VIEW[1], fx, cx)):
        step = focal / VIEW_FOCAL  # size of a view pixel in the image
        inner = max(1, round(length / step))
        outer = max(min_length, -(-(inner + 2 * MARGIN) // VIEW_STRIDE) * VIEW_STRIDE)
        first = (outer - inner) // 2
        sources = np.clip(((np.arange(outer) - first + 0.5) * step).astype(int), 0, length - 1)
        sampled = sources[first : first + inner]
        sides.append(outer)
        places.append(slice(first, first + inner))
        pixels.append([sampled, np.minimum(sampled + 1, length - 1)] if step > 2.0 else [sampled])
        tangents.append((sources[_CELLS] - principal) / focal)
    y, x = tangents
    rays = np.stack(np.meshgrid(x, y), axis=-1)
    return _ViewGrid((sides[0], sides[1]), (places[0], places[1]), pixels[0], pixels[1], rays)


def cell_points(rays: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return the points (V, 3) in mm of cells, given their rays (V, 2) and depths (V,)."""
    points = np.empty((len(z), 3))
    np.multiply(rays, z[:, None], out=points[:, :2])
    points[:, 2] = z
    return points


def _cluster(votes: np.ndarray, areas: np.ndarray, max_clusters: int, min_area: float) -> tuple[np.ndarray, np.ndarray]:
    """Cluster votes (V, 3) in mm into centers (N, 3), and return them with the total area (N,) of each cluster."""
    x, y, z = votes.T
    square = np.zeros((len(votes), len(votes)))
    for axis in (x, y, z):  # in place, because these are the largest arrays of this module
        difference = axis[:, None] - axis
        difference *= difference
        square += difference
    agree = square < _VOTE_RADIUS**2
    weights = agree.astype(np.float64)
    centers: list[np.ndarray] = []
    cluster_areas: list[float] = []
    remaining = np.ones(len(votes), bool)
    while remaining.any() and len(centers) < max_clusters:
        support = np.where(remaining, weights @ (areas * remaining), 0.0)
        best = int(support.argmax())
        if support[best] < min_area:
            break
        members = agree[best] & remaining
        center = areas[members] @ votes[members] / areas[members].sum()
        centers.append(center)
        cluster_areas.append(float(support[best]))
        remaining &= np.square(votes - center).sum(axis=1) > (HAND_LENGTH / 2) ** 2
        # Background that is visible between the fingers is not another hand.
        scale = center[2] / np.maximum(z, 1.0)
        across = np.square(x * scale - center[0]) + np.square(y * scale - center[1])
        remaining &= (z < center[2]) | (across > _VOTE_RADIUS**2)
    return np.array(centers).reshape(-1, 3), np.array(cluster_areas)
