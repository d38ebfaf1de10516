"""Locates the hands in a depth image.

The image is resampled to a small view with a fixed focal length, so that the size of a hand in pixels depends only on
its distance. A small convolutional network classifies each cell of the view as hand or background and predicts the
offset from the cell's 3D point to the hand center, as the pixel-to-offset prediction of the pose network does
(Fang et al. 2020, section 3.3). Cells whose votes agree form one hand.
"""

from __future__ import annotations

import numpy as np

from handpose.errors import HandPoseError
from handpose.geometry.camera import Camera
from handpose.geometry.sampling import sample_depth
from handpose.localization.network import CELL, FARTHEST, NEAREST, OFFSET_MM, VIEW_FOCAL, VIEW_STRIDE, Votes
from handpose.localization.numpy_runtime import votes_in_numpy

HAND_LENGTH = 190.0
"""Distance in mm from the fingertips to the wrist of a large hand."""

MAX_VIEW_PIXELS = 1 << 17
"""Maximum size of the view, in px: a field of view of 138 degrees at 4:3."""

MAX_VOTES = 2000
"""Maximum number of cells that vote: as many as a hand covers that fills the image at the minimum distance."""

_VOTE_RADIUS = 60.0  # mm; votes closer than this support the same center
_MIN_PROBABILITY = 0.1  # below which a cell does not vote
_MIN_AREA_RATIO = 0.25  # of an additional hand's area to the area of the largest hand
_MIN_AREA = 800.0  # mm^2 of surface, weighted by probability


def localize_hands(depth: np.ndarray, camera: Camera, max_hands: int = 1) -> np.ndarray:
    """Locate the hands with the largest visible area in a depth image.

    Args:
        depth: (H, W) in mm, 0 = no depth value.
        camera: Intrinsics of `depth`.
        max_hands: Maximum number of hands.

    Returns:
        Hand centers (N, 3) in mm in the camera frame, nearest first, with 0 <= N <= `max_hands`.

    Raises:
        HandPoseError: `depth` is not an image, has another size than the camera's images, or has too wide a field of
            view.
    """
    return nearest_first(*hand_candidates(depth, camera, max_hands))


def nearest_first(centers: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """Return the centers (N, 3) of the candidates that are large enough to be hands, nearest first."""
    centers = centers[areas >= _MIN_AREA_RATIO * areas.max(initial=0.0)]
    ordered: np.ndarray = centers[np.argsort(centers[:, 2])]
    return ordered


def hand_candidates(
    depth: np.ndarray, camera: Camera, max_candidates: int, network: Votes = votes_in_numpy
) -> tuple[np.ndarray, np.ndarray]:
    """Locate the surfaces in a depth image that may be hands, largest visible area first.

    Args:
        depth: (H, W) in mm, 0 = no depth value.
        camera: Intrinsics of `depth`.
        max_candidates: Maximum number of candidates.
        network: Predicts the votes of the cells.

    Returns:
        Centers (N, 3) in mm in the camera frame, and the visible area (N,) of each candidate in mm^2.

    Raises:
        HandPoseError: See `localize_hands`.
    """
    if depth.ndim != 2:
        raise HandPoseError(f"depth must be (H, W) in mm, got {depth.shape}; read files with handpose.read_depth")
    view, points = coarse_view(depth, camera.for_image(depth.shape[1], depth.shape[0]))
    votes = network(coarse_channels(view))[0].transpose(1, 2, 0)
    probability = 1.0 / (1.0 + np.exp(-votes[..., 0]))
    cells = np.flatnonzero((probability > _MIN_PROBABILITY) & (points[..., 2] > 0))
    if len(cells) > MAX_VOTES:
        cells = cells[np.argsort(-probability.ravel()[cells])[:MAX_VOTES]]
    weights, positions, offsets = (
        probability.ravel()[cells],
        points.reshape(-1, 3)[cells],
        votes.reshape(-1, 4)[cells, 1:],
    )
    # The surface that a cell covers grows with the square of its distance. In mm^2, near and far hands compare.
    areas = weights * np.square(positions[:, 2] * (CELL / VIEW_FOCAL))
    return _cluster(positions + offsets * OFFSET_MM, areas, max_candidates)


def coarse_channels(view: np.ndarray) -> np.ndarray:
    """Return the network input (1, 2, h, w) float32 for a view (h, w) in mm: log depth, and a mask of known depth."""
    known = (view > NEAREST) & (view < FARTHEST)
    logarithm = np.log(np.where(known, view, 400.0) / np.float32(400.0))
    return np.stack([logarithm, known.astype(np.float32)])[None].astype(np.float32)


def coarse_view(depth: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Resample an image to the view (h, w) in mm, and return it with the points (h/4, w/4, 3) of its cells in mm."""
    if depth.size * (VIEW_FOCAL / camera.fx) * (VIEW_FOCAL / camera.fy) > MAX_VIEW_PIXELS:
        raise HandPoseError(
            f"with focal lengths of {camera.fx:g} and {camera.fy:g} px, an image of {depth.shape[1]} x "
            f"{depth.shape[0]} px has too wide a field of view; pass the intrinsics of this stream, or the hand center"
        )
    axes, directions = [], []
    for length, focal, principal in (
        (depth.shape[0], camera.fy, camera.cy),
        (depth.shape[1], camera.fx, camera.cx),
    ):
        pixels = np.arange(max(1, round(length * VIEW_FOCAL / focal)))
        source = np.minimum(((pixels + 0.5) * (focal / VIEW_FOCAL)).astype(int), length - 1)
        axes.append(source)
        directions.append((source - principal) / focal)
    inner = sample_depth(depth, *axes)
    view = np.zeros([-(-length // VIEW_STRIDE) * VIEW_STRIDE for length in inner.shape], np.float32)
    view[: inner.shape[0], : inner.shape[1]] = np.where((inner > NEAREST) & (inner < FARTHEST), inner, 0.0)
    z = view[CELL // 2 :: CELL, CELL // 2 :: CELL]
    points = np.zeros((*z.shape, 3))
    y, x = (direction[CELL // 2 :: CELL] for direction in directions)
    points[: len(y), : len(x)] = np.stack([*np.meshgrid(x, y), np.ones((len(y), len(x)))], axis=-1)
    return view, points * z[..., None]


def _cluster(votes: np.ndarray, areas: np.ndarray, max_clusters: int) -> tuple[np.ndarray, np.ndarray]:
    """Cluster votes (V, 3) in mm into centers (N, 3), and return them with the total area (N,) of each cluster."""
    agree = np.linalg.norm(votes[:, None] - votes, axis=-1) < _VOTE_RADIUS
    centers: list[np.ndarray] = []
    cluster_areas: list[float] = []
    remaining = np.ones(len(votes), bool)
    while remaining.any() and len(centers) < max_clusters:
        support = np.where(remaining, (agree & remaining) @ areas, 0.0)
        best = int(support.argmax())
        if support[best] < _MIN_AREA:
            break
        members = agree[best] & remaining
        centers.append(np.average(votes[members], axis=0, weights=areas[members]))
        cluster_areas.append(float(support[best]))
        remaining &= np.linalg.norm(votes - centers[-1], axis=1) > HAND_LENGTH / 2
    return np.array(centers).reshape(-1, 3), np.array(cluster_areas)
