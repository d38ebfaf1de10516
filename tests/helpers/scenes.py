"""Synthetic depth images with known content."""

from __future__ import annotations

import functools
import itertools

import numpy as np

from handpose.geometry.camera import Camera
from handpose.geometry.distortion import Distortion

AZURE_KINECT = Camera(
    *(503.927643, 503.978729, 332.064270, 325.880615, 640, 576),
    distortion=Distortion(
        "brown_conrady", (3.130577, 2.324939, 0.000081, -0.000051, 0.130416, 3.458652, 3.350115, 0.662942)
    ),
)
"""The depth camera of an Azure Kinect in its narrow mode, as its owner published it."""


def render_balls(camera: Camera, balls: list[tuple[np.ndarray, float]]) -> np.ndarray:
    """Return the exact depth (H, W) in mm of balls, each a center (3,) in mm and a radius in mm."""
    all_rays, all_a = _rays(camera)
    depth = np.full(all_a.shape, np.inf)
    for center, radius in balls:
        window = _window(camera, center, radius)
        rays, a = all_rays[window], all_a[window]
        b = rays @ center
        inside = b**2 - a * (center @ center - radius**2)
        surface = np.where(inside > 0, (b - np.sqrt(np.maximum(inside, 0))) / a, np.inf)
        depth[window] = np.minimum(depth[window], surface)
    return np.where(np.isfinite(depth), depth, 0).astype(np.float32)


@functools.lru_cache(maxsize=8)
def _rays(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Return the rays (H, W, 3) through the pixels, whose depth is 1, and their squared lengths (H, W)."""
    v, u = np.indices((int(camera.height), int(camera.width)), dtype=np.float64)
    rays = camera.unproject(np.stack([u, v, np.ones_like(u)], -1))
    return rays, (rays**2).sum(-1)


def _window(camera: Camera, center: np.ndarray, radius: float) -> tuple[slice, slice]:
    """Return the rows and columns outside of which no pixel shows a ball: those of the cube around it."""
    if camera.distortion is not None or center[2] <= radius:
        return slice(None), slice(None)
    corners = camera.project(center + radius * np.array([*itertools.product((-1.0, 1.0), repeat=3)]))[:, :2]
    (left, top), (right, bottom) = np.maximum([corners.min(0) - 1, corners.max(0) + 2], 0).astype(int)
    return slice(top, bottom), slice(left, right)


def arm_with_hand(toward: np.ndarray, wrist: np.ndarray, forearm: float) -> list[tuple[np.ndarray, float]]:
    """Return the balls of a forearm with a hand; `toward` is the unit vector from the elbow to the fingers."""
    side = np.cross(toward, [0.0, 0.0, 1.0])
    side /= np.linalg.norm(side)
    balls = [(wrist - toward * s, 27.0 + 0.06 * s) for s in np.arange(0.0, forearm, 12.0)]
    balls += [(wrist + toward * s + side * w, 22.0) for s in np.arange(20.0, 90.0, 10.0) for w in (-26, -13, 0, 13, 26)]
    for k, spread in enumerate((-0.33, -0.1, 0.1, 0.3)):
        direction = toward + spread * side
        base = wrist + toward * 90.0 + side * (-30.0 + 20.0 * k)
        balls += [(base + direction * s, 9.0) for s in np.arange(0.0, 75.0, 5.0)]
    thumb = toward * 0.5 - side
    balls += [(wrist + toward * 35.0 - side * 30.0 + thumb * s, 11.0) for s in np.arange(0.0, 50.0, 5.0)]
    return balls
