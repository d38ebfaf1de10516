"""Regular grids of holes are filled from both sides; all other pixels stay as they are."""

from __future__ import annotations

import numpy as np
import pytest

from handpose import Camera, HandPoseEstimator, read_depth
from handpose.geometry.sampling import sample_depth
from tests.helpers.paths import EXAMPLES

EVERYWHERE = np.arange(-2.0, 42.0)


def sloping_hand() -> np.ndarray:
    """Return a tilted surface in front of a wall and next to missing pixels, (40, 40) mm."""
    v, u = np.indices((40, 40), dtype=np.float32)
    depth = np.full((40, 40), 1500, np.float32)
    depth[5:35, 5:25] = (500 + u + 2 * v)[5:35, 5:25]
    depth[:, 30:] = 0
    return depth


def test_an_image_without_holes_is_unchanged() -> None:
    depth = sloping_hand()
    sampled = sample_depth(depth, EVERYWHERE, EVERYWHERE)
    assert np.array_equal(sampled[2:-2, 2:-2], depth)
    assert (sampled[:2] == 0).all()
    assert (sampled[:, -2:] == 0).all()


@pytest.mark.parametrize("kept", [(slice(None), slice(None, None, 2)), (slice(None, None, 2), slice(None, None, 2))])
def test_a_grid_of_holes_is_filled_without_inventing_surfaces(kept: tuple[slice, slice]) -> None:
    depth = sloping_hand()
    registered = np.zeros_like(depth)
    registered[kept] = depth[kept]
    sampled = sample_depth(registered, np.arange(40.0), np.arange(40.0))
    surface = (slice(6, 34), slice(6, 24))
    assert np.abs(sampled[surface] - depth[surface]).max() < 1e-3  # a plane: the mean of two neighbors is exact
    filled = sampled > 0
    # Every value is that of a surface at most one pixel away, never between the hand and the wall.
    around = np.stack([np.roll(depth, (dy, dx), (0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)])
    assert np.abs(around - sampled).min(axis=0)[filled].max() < 1e-3
    assert not filled[:, 31:].any()


def test_integers_are_filled_like_floating_point_numbers() -> None:
    registered = np.zeros((40, 40), np.uint16)
    registered[:, ::2] = sloping_hand()[:, ::2]
    sampled = sample_depth(registered, np.arange(40.0), np.arange(40.0))
    assert np.array_equal(sampled, sample_depth(registered.astype(np.float32), np.arange(40.0), np.arange(40.0)))


def test_single_missing_pixels_are_not_filled() -> None:
    depth = sloping_hand()
    depth[20, 10] = 0
    assert sample_depth(depth, np.arange(40.0), np.arange(40.0))[20, 10] == 0


@pytest.mark.parametrize("kept", [(slice(None, None, 2), slice(None)), (slice(None, None, 2), slice(None, None, 2))])
def test_a_pose_is_predicted_despite_a_grid_of_holes(kept: tuple[slice, slice]) -> None:
    camera = Camera.parse(str(EXAMPLES / "camera.json"))
    depth = read_depth(EXAMPLES / "open.png")
    registered = np.zeros_like(depth)
    registered[kept] = depth[kept]
    estimator = HandPoseEstimator.from_pretrained("msra", device="cpu")
    expected, with_holes = (estimator.predict(image, camera=camera).xyz for image in (depth, registered))
    assert np.linalg.norm(with_holes - expected, axis=1).mean() < 6.0
