"""Where the hand is: from a bare depth image to the centre of each hand's cube.

A small convolutional network looks at a coarse copy of the image, resampled to one focal length so that a hand's
size says how far it is. Every cell tells whether it lies on a hand, and votes for that hand's centre from its own
point in space: pixel-to-offset prediction (Fang et al. 2020, section 3.3) for a whole view. It runs in numpy, since
a copy of ten thousand cells needs no more.
"""

from __future__ import annotations

import numpy as np

from handpose.errors import HandPoseError
from handpose.geometry.camera import Camera
from handpose.localization.network import CELL, FARTHEST, NEAREST, OFFSET_MM, VIEW_FOCAL, VIEW_STRIDE, Votes
from handpose.localization.numpy_runtime import votes_in_numpy

HAND = 190.0  # mm from fingertip to wrist of a large hand
_AGREE = 60.0  # mm: votes closer than this are for one centre
_SURE = 0.1  # a cell with less probability does not vote
_ANOTHER = 0.25  # of the first hand's area, that a second one must have
_LARGEST_VIEW = 1 << 17  # px of the coarse copy: 138 degrees across at 4:3
_MOST_VOTES = 2000  # of a hand that fills the image at the nearest distance
_LEAST_AREA = 800.0  # mm^2 of surface, weighted by probability, that make a hand


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
        left &= np.linalg.norm(votes - centres[-1], axis=1) > HAND / 2
    return np.array(centres).reshape(-1, 3), np.array(behind)
