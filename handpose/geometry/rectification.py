"""Rectification: removes the distortion of the lens from depth images."""

from __future__ import annotations

import dataclasses
import math
from functools import lru_cache

import cv2
import numpy as np

from handpose.errors import HandPoseError
from handpose.geometry.camera import Camera

_NEGLIGIBLE = 0.5  # px, displacement below which distortion is ignored
_MAX_TANGENT = 1.75  # a rectified image covers up to 60 degrees to each side
_GRID = 161  # rays per axis that are sampled to find the visible region
_MAX_CACHED_PIXELS = 1 << 23  # per map, which has four bytes per pixel
_MAX_SIDE = (1 << 15) - 2  # px, of OpenCV


def rectify(depth: np.ndarray, camera: Camera) -> tuple[np.ndarray, Camera]:
    """Return a depth image without the distortion of its lens, and its pinhole camera.

    The rectified image covers the whole view, up to 60 degrees to each side, so it may be larger than the original.
    Each of its pixels is the nearest pixel of the original image. Depth is measured along the optical axis, so it stays
    the same. Without a distortion of more than half a pixel, the image itself is returned.

    Args:
        depth: (H, W) mm, 0 = missing.
        camera: Camera of the image.

    Raises:
        HandPoseError: the camera does not fit the image, or cannot be rectified.
    """
    if camera.distortion is None:
        return depth, camera
    camera = camera.for_image(depth.shape[1], depth.shape[0])
    pinhole = rectified_camera(camera)
    if not is_distorted(camera):
        return depth, pinhole
    if max(*depth.shape, pinhole.width, pinhole.height) > _MAX_SIDE:
        raise HandPoseError(f"images of more than {_MAX_SIDE} px per side cannot be rectified, got {depth.shape}")
    # With a few cameras in use, each map is computed once; larger maps are not kept.
    maps = _cached_maps if pinhole.width * pinhole.height <= _MAX_CACHED_PIXELS else _maps
    rectified = cv2.remap(depth, maps(camera, pinhole), None, cv2.INTER_NEAREST)  # type: ignore[call-overload]
    return rectified, pinhole


@lru_cache(maxsize=64)
def is_distorted(camera: Camera) -> bool:
    """Return whether the lens moves any pixel of the image by more than half a pixel. The image size must be known."""
    if camera.distortion is None:
        return False
    u, v = np.meshgrid(np.linspace(0, camera.width - 1, 33), np.linspace(0, camera.height - 1, 33))
    rays = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy], axis=-1)
    moved = (camera.distortion.distort(rays) - rays) * (camera.fx, camera.fy)
    return bool(np.linalg.norm(moved, axis=-1).max() > _NEGLIGIBLE)


@lru_cache(maxsize=64)
def rectified_camera(camera: Camera) -> Camera:
    """Return the pinhole camera of the rectified image, at the resolution of the original image's center.

    The image size of `camera` must be known. If the distortion is negligible, only its coefficients are dropped.

    Raises:
        HandPoseError: no ray in front of the camera lies in the image.
    """
    pinhole = dataclasses.replace(camera, distortion=None)
    if not is_distorted(camera):
        return pinhole
    assert camera.distortion is not None
    steps = np.linspace(-_MAX_TANGENT, _MAX_TANGENT, _GRID)
    rays = np.stack(np.meshgrid(steps, steps), axis=-1)
    u, v, _ = np.moveaxis(camera.project(np.concatenate([rays, np.ones((*rays.shape[:2], 1))], axis=-1)), -1, 0)
    seen = (np.abs(u - (camera.width - 1) / 2) <= camera.width / 2) & (
        np.abs(v - (camera.height - 1) / 2) <= camera.height / 2
    )
    seen &= np.linalg.norm(rays, axis=-1) <= camera.distortion.limit
    if not seen.any():
        raise HandPoseError(f"the coefficients of the lens do not fit the intrinsics: {camera.distortion.coefficients}")
    margin = steps[1] - steps[0]  # between two rays of the grid
    sides = []
    for axis, focal in ((0, camera.fx), (1, camera.fy)):
        visible = steps[seen.any(axis=axis)]
        start = max(-_MAX_TANGENT, visible[0] - margin)
        length = min(_MAX_TANGENT, visible[-1] + margin) - start
        sides.append((-start * focal, math.ceil(length * focal)))
    (cx, width), (cy, height) = sides
    return dataclasses.replace(pinhole, cx=cx, cy=cy, width=width, height=height)


def _maps(camera: Camera, pinhole: Camera) -> np.ndarray:
    """Return the nearest pixel (column, row) of the original image for each pixel of the rectified image."""
    assert camera.distortion is not None
    columns = (np.arange(pinhole.width) - pinhole.cx) / pinhole.fx
    maps = np.empty((int(pinhole.height), int(pinhole.width), 2), np.int16)
    for row in range(len(maps)):  # in rows, to bound memory
        rays = np.stack([columns, np.full_like(columns, (row - pinhole.cy) / pinhole.fy)], axis=-1)
        pixels = np.floor(camera.distortion.distort(rays) * (camera.fx, camera.fy) + (camera.cx + 0.5, camera.cy + 0.5))
        pixels[np.linalg.norm(rays, axis=-1) > camera.distortion.limit] = -1.0
        maps[row] = np.clip(pixels, -1.0, 1.0 + _MAX_SIDE)
    return maps


_cached_maps = lru_cache(maxsize=4)(_maps)
