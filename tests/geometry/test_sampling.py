"""Holes in a grid are filled from both sides; everything else is read as it is."""

from __future__ import annotations

import numpy as np
import pytest

from handpose import Camera, HandPoseEstimator, read_depth
from handpose.geometry.sampling import sample_depth
from tests.helpers.paths import EXAMPLES

EVERYWHERE = np.arange(-2.0, 42.0)


def sloping_hand() -> np.ndarray:
    """A tilted surface, 40 x 40, before a wall, beside nothing: silhouettes of both kinds."""
    v, u = np.indices((40, 40), dtype=np.float32)
    depth = np.full((40, 40), 1500, np.float32)
    depth[5:35, 5:25] = (500 + u + 2 * v)[5:35, 5:25]
    depth[:, 30:] = 0
    return depth


def test_a_whole_image_is_read_as_it_is() -> None:
    depth = sloping_hand()
    read = sample_depth(depth, EVERYWHERE, EVERYWHERE)
    assert np.array_equal(read[2:-2, 2:-2], depth)
    assert (read[:2] == 0).all()
    assert (read[:, -2:] == 0).all()


@pytest.mark.parametrize("kept", [(slice(None), slice(None, None, 2)), (slice(None, None, 2), slice(None, None, 2))])
def test_a_grid_of_holes_is_filled_and_no_surface_is_invented(kept: tuple[slice, slice]) -> None:
    depth = sloping_hand()
    registered = np.zeros_like(depth)
    registered[kept] = depth[kept]
    read = sample_depth(registered, np.arange(40.0), np.arange(40.0))
    surface = (slice(6, 34), slice(6, 24))
    assert np.abs(read[surface] - depth[surface]).max() < 1e-3  # a plane: the mean of two neighbors is exact
    filled = read > 0
    # Every value is that of a surface one pixel away at most: never between the hand and the wall, or beside both.
    around = np.stack([np.roll(depth, (dy, dx), (0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)])
    assert np.abs(around - read).min(axis=0)[filled].max() < 1e-3
    assert not filled[:, 31:].any()


def test_single_lost_pixels_stay_lost() -> None:
    depth = sloping_hand()
    depth[20, 10] = 0
    assert sample_depth(depth, np.arange(40.0), np.arange(40.0))[20, 10] == 0


@pytest.mark.parametrize("kept", [(slice(None, None, 2), slice(None)), (slice(None, None, 2), slice(None, None, 2))])
def test_a_hand_is_found_in_a_grid_of_holes(kept: tuple[slice, slice]) -> None:
    camera = Camera.parse(str(EXAMPLES / "camera.json"))
    depth = read_depth(EXAMPLES / "open.png")
    registered = np.zeros_like(depth)
    registered[kept] = depth[kept]
    estimator = HandPoseEstimator.from_pretrained("msra", device="cpu")
    whole, holes = (estimator.predict(image, camera=camera).xyz for image in (depth, registered))
    assert np.linalg.norm(holes - whole, axis=1).mean() < 6.0
