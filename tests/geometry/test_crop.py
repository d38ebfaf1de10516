from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handpose.errors import HandPoseError
from handpose.geometry.camera import Camera
from handpose.geometry.crop import PATCH, HandCrop, check_cube
from tests.helpers.scenes import render_balls

CAMERA = Camera(476.0, 480.0, 313.5, 243.0, 640, 480)
centers = st.tuples(st.floats(-70, 70), st.floats(-60, 60), st.floats(250, 1200)).map(np.array)


@given(centers, st.booleans(), st.floats(80, 350))
def test_points_survive_the_round_trip_through_a_crop(center: np.ndarray, mirror: bool, cube: float) -> None:
    crop = HandCrop.cut(np.zeros((480, 640), np.float32), CAMERA, center, cube, mirror=mirror)
    xyz = center + np.array([[0.0, 0, 0], [40, -30, 20], [-90, 60, -50]])
    normalized = crop.normalize(crop.camera.project(xyz))
    assert np.allclose(crop.camera.unproject(crop.denormalize(normalized)), xyz, atol=1e-6)
    assert normalized[0] == pytest.approx([0.5, 0.5, 0.0])  # the center of the cube


@given(centers)
def test_unprojected_patch_pixels_lie_on_the_surface(center: np.ndarray) -> None:
    """The surface is a ball, and the tolerance is one pixel."""
    depth = render_balls(CAMERA, [(center, 60.0)])
    crop = HandCrop.cut(depth, CAMERA, center, 250.0)
    v, u = np.nonzero(crop.patch < 1)
    assert len(u) > 1000
    points = crop.camera.unproject(np.stack([u, v, crop.patch[v, u] * 125.0 + center[2]], -1))
    pixel = center[2] / CAMERA.fx
    inner = np.hypot(*(points - center)[:, :2].T) < 40.0
    off = np.linalg.norm(points - center, axis=1)[inner] - 60.0
    assert np.abs(off).max() < pixel
    assert abs(off.mean()) < 0.25 * pixel


def test_depth_is_scaled_to_the_cube_and_clamped() -> None:
    depth = np.full((480, 640), 600.0, np.float32)
    depth[:, 200:240] = 550.0
    depth[:, 240:280] = 700.0
    depth[:, 280:320] = 300.0
    depth[:, 320:360] = 900.0
    depth[:, 360:400] = 0.0
    crop = HandCrop.cut(depth, CAMERA, np.array([0.0, 0.0, 600.0]), 250.0)
    assert sorted(np.unique(crop.patch).tolist()) == pytest.approx([-1.0, -0.4, 0.0, 0.8, 1.0])


def test_mirroring_flips_only_the_patch() -> None:
    depth = render_balls(CAMERA, [(np.array([30.0, 0, 500]), 40.0)])
    center = np.array([0.0, 10.0, 510.0])
    plain, mirrored = (HandCrop.cut(depth, CAMERA, center, 250.0, mirror=m) for m in (False, True))
    assert np.array_equal(plain.patch, mirrored.patch[:, ::-1])
    assert plain.camera == mirrored.camera


def test_pixels_outside_the_image_are_background() -> None:
    depth = np.full((480, 640), 600.0, np.float32)
    assert (HandCrop.cut(depth, CAMERA, np.array([5000.0, 0, 600]), 250.0).patch == 1).all()
    patch = HandCrop.cut(depth, CAMERA, CAMERA.unproject(np.array([-0.5, 240, 600])), 250.0).patch
    assert (patch[:, : PATCH // 2] == 1).all()
    assert (patch[:, PATCH // 2 :] == 0).all()


@pytest.mark.parametrize("center", [[0, 0, 0], [0, 0, -5], [0, 0, np.nan], [1, 2], [np.inf, 0, 500]])
def test_an_invalid_center_is_rejected(center: list[float]) -> None:
    with pytest.raises(HandPoseError, match=r"x, y, z in mm"):
        HandCrop.cut(np.zeros((4, 4), np.float32), CAMERA, center, 250.0)


@pytest.mark.shared
@pytest.mark.parametrize("frame", range(6))
def test_agreement_with_the_original_preprocessing(reference, frame: int) -> None:
    """The original rounds the window to integer pixels, so the two differ by less than a pixel."""
    crops = reference("crops.npz")
    depth, k = crops[f"f{frame}/depth"].astype(np.float32), crops[f"f{frame}/K_importer"].tolist()
    camera = Camera(*k, depth.shape[1], depth.shape[0])
    flip_y = np.array([1, -1, 1])  # in the reference, y points up
    crop = HandCrop.cut(depth, camera, crops[f"f{frame}/com3D"] * flip_y, float(crops[f"f{frame}/cube"][0]))
    joints = crop.camera.project(crops[f"f{frame}/gt3Dorig"] * flip_y)
    assert np.abs(joints[:, :2] - crops[f"f{frame}/gtcrop"][:, :2]).max() < 0.8
    expected = crops[f"f{frame}/norm_test"]
    both = (crop.patch < 1) & (expected < 1)
    assert both.sum() / ((crop.patch < 1) | (expected < 1)).sum() > 0.84
    assert np.median(np.abs(crop.patch - expected)[both]) < 0.02


def test_a_center_in_meters_is_recognized() -> None:
    with pytest.raises(HandPoseError, match="seems to be in meters"):
        check_cube(np.array([0.01, 0.03, 0.6]), 250.0)
    with pytest.raises(HandPoseError) as caught:
        check_cube(np.array([100.0, 30.0, 0.6]), 250.0)
    assert "meters" not in str(caught.value)
