"""Augmentation, compared with the moved scene and with closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handpose.errors import HandPoseError
from handpose.geometry.camera import Camera
from handpose.geometry.crop import HandCrop
from handpose.training.augmentation import Augmentation, Move
from tests.helpers.scenes import render_balls

CAMERA = Camera(476.0, 480.0, 313.5, 243.0, 640, 480)
CUBE = 250.0
centers = st.tuples(st.floats(-60, 60), st.floats(-40, 40), st.floats(400, 900)).map(np.array)
shifts = st.tuples(*[st.floats(-10, 10)] * 3)
moves = st.builds(Move, st.floats(-180, 180), st.floats(0.9, 1.1), shifts)

# An asymmetric object: no rotation or reflection maps it to itself.
BALLS = [((0, 0, 0), 38.0), ((45, -30, 10), 16.0), ((70, -48, 20), 12.0), ((-20, -62, -15), 14.0), ((5, 55, 30), 20.0)]


def turned(points: np.ndarray, degrees: float, axis: np.ndarray) -> np.ndarray:
    """Rodrigues' formula, term by term."""
    k, angle = axis / np.linalg.norm(axis), np.radians(degrees)
    along = (points @ k)[..., None] * k
    return points * np.cos(angle) + np.cross(k, points) * np.sin(angle) + along * (1 - np.cos(angle))


@given(centers, moves)
def test_augmented_joints_unproject_to_the_moved_joints(center: np.ndarray, move: Move) -> None:
    xyz = center + np.random.default_rng(3).uniform(-110, 110, (21, 3))
    crop = move.cut(np.zeros((480, 640), np.float32), CAMERA, center, CUBE)
    normalized = crop.normalize(crop.camera.project(move.points(xyz, center)))
    back = crop.camera.unproject(crop.denormalize(normalized))
    expected = move.scale * turned(xyz - center, move.degrees, center) + np.array(move.shift)
    assert np.allclose(back - crop.center, expected, atol=1e-6)
    # Nothing is distorted: all distances are scaled by the same factor.
    lengths, moved = (np.linalg.norm(np.diff(points, axis=0), axis=1) for points in (xyz, back))
    assert np.allclose(moved, lengths * move.scale)
    assert crop.cube == CUBE


@settings(max_examples=25, deadline=None)
@given(centers, moves)
def test_the_augmented_surface_matches_the_moved_scene(center: np.ndarray, move: Move) -> None:
    """An augmented crop of balls agrees with a plain crop of the moved balls, up to a pixel at the outlines."""
    balls = [(center + np.array(offset), radius) for offset, radius in BALLS]
    moved = [(move.points(ball, center), radius * move.scale) for ball, radius in balls]
    augmented = move.cut(render_balls(CAMERA, balls), CAMERA, center, CUBE)
    rendered = HandCrop.cut(render_balls(CAMERA, moved), CAMERA, move.center(center), CUBE)
    assert augmented.camera == rendered.camera
    ours, expected = augmented.patch < 1, rendered.patch < 1
    assert (ours & expected).sum() > 400
    assert (ours & expected).sum() / (ours | expected).sum() > 0.93  # outlines differ by a pixel
    errors = np.abs(augmented.patch - rendered.patch)[ours & expected] * CUBE / 2
    assert np.median(errors) < 0.8
    assert np.percentile(errors, 90) < 4.0  # mm; larger at the steep sides of a ball
    # Its points lie on the moved balls.
    v, u = np.nonzero(ours)
    points = augmented.camera.unproject(np.stack([u, v, augmented.patch[v, u] * CUBE / 2 + augmented.center[2]], -1))
    distance = np.min([np.abs(np.linalg.norm(points - c, axis=1) - r) for c, r in moved], axis=0)
    assert np.median(distance) < 0.5
    assert np.percentile(distance, 98) < 2.0 * center[2] / CAMERA.fx + 0.5


def test_depth_values_shift_and_scale_with_the_hand() -> None:
    """A wall that faces the camera is moved by the shift, and its relief is scaled."""
    wall = np.full((480, 640), 600.0, np.float32)
    wall[:, 330:] = 650.0
    center = np.array([0.0, 0.0, 610.0])
    patch = Move(0.0, 1.1, (0.0, 0.0, 7.0)).cut(wall, CAMERA, center, CUBE).patch * CUBE / 2
    assert sorted(set(np.round(patch.ravel(), 2).tolist())) == pytest.approx([-10 * 1.1 + 7, 40 * 1.1 + 7], abs=0.01)


@settings(max_examples=25, deadline=None)
@given(centers)
def test_the_identity_is_the_plain_crop(center: np.ndarray) -> None:
    depth = render_balls(CAMERA, [(center + np.array(offset), radius) for offset, radius in BALLS])
    plain, moved = HandCrop.cut(depth, CAMERA, center, CUBE), Move().cut(depth, CAMERA, center, CUBE)
    assert plain.camera == moved.camera
    assert (plain.patch == moved.patch).mean() > 0.98  # rounding decides about pixel centers between two pixels


def test_a_quarter_turn_is_clockwise_in_the_image() -> None:
    center = np.array([0.0, 0.0, 600.0])
    depth = render_balls(CAMERA, [(center + np.array([60.0, 0, 0]), 20.0)])  # right of the center
    v, u = np.nonzero(Move(90.0).cut(depth, CAMERA, center, CUBE).patch < 1)
    assert (u.mean(), v.mean()) == pytest.approx((47.5, 47.5 + 60 * 96 / 250), abs=1.0)


def test_moves_are_sampled_from_the_ranges_of_the_paper() -> None:
    random = np.random.default_rng(0)
    moves = [Augmentation().sample(random) for _ in range(4000)]
    columns = np.array([(move.degrees, move.scale, *move.shift) for move in moves])
    limits = np.array([[-180, 180], [0.9, 1.1], [-10, 10], [-10, 10], [-10, 10]])
    assert (columns.min(0) >= limits[:, 0]).all()
    assert (columns.max(0) <= limits[:, 1]).all()
    # The mean and spread are those of a uniform distribution.
    width = limits[:, 1] - limits[:, 0]
    assert np.abs((columns.mean(0) - limits.mean(1)) / width).max() < 0.02
    assert (columns.std(0) / width) == pytest.approx(np.full(5, 12**-0.5), rel=0.03)


def test_a_cube_behind_the_camera_is_rejected() -> None:
    with pytest.raises(HandPoseError, match="with z between"):
        Move(shift=(0.0, 0.0, 10.0)).cut(np.zeros((480, 640), np.float32), CAMERA, np.array([0.0, 0.0, 5.0]), CUBE)
