from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handpose.errors import HandPoseError
from handpose.geometry.camera import Camera
from handpose.geometry.crop import PATCH, HandCrop
from tests.helpers.scenes import render_balls

CAMERA = Camera(476.0, 480.0, 313.5, 243.0, 640, 480)
centres = st.tuples(st.floats(-70, 70), st.floats(-60, 60), st.floats(250, 1200)).map(np.array)


@given(centres, st.booleans(), st.floats(80, 350))
def test_a_point_comes_back_through_the_crop(center: np.ndarray, mirror: bool, cube: float) -> None:
    crop = HandCrop.cut(np.zeros((480, 640), np.float32), CAMERA, center, cube, mirror=mirror)
    xyz = center + np.array([[0.0, 0, 0], [40, -30, 20], [-90, 60, -50]])
    normalized = crop.normalize(crop.camera.project(xyz))
    assert np.allclose(crop.camera.unproject(crop.denormalize(normalized)), xyz, atol=1e-6)
    assert normalized[0] == pytest.approx([0.5, 0.5, 0.0])  # the centre is the middle


@given(centres)
def test_the_patch_shows_the_surface_its_camera_says(center: np.ndarray) -> None:
    """A planted ball: unprojecting the patch gives points on it, to a pixel."""
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


def test_depth_is_scaled_to_the_cube_and_the_rest_is_background() -> None:
    depth = np.full((480, 640), 600.0, np.float32)
    depth[:, 200:240] = 550.0
    depth[:, 240:280] = 700.0
    depth[:, 280:320] = 300.0
    depth[:, 320:360] = 900.0
    depth[:, 360:400] = 0.0
    crop = HandCrop.cut(depth, CAMERA, np.array([0.0, 0.0, 600.0]), 250.0)
    assert sorted(np.unique(crop.patch).tolist()) == pytest.approx([-1.0, -0.4, 0.0, 0.8, 1.0])


def test_mirroring_flips_the_patch_and_nothing_else() -> None:
    depth = render_balls(CAMERA, [(np.array([30.0, 0, 500]), 40.0)])
    center = np.array([0.0, 10.0, 510.0])
    plain, mirrored = (HandCrop.cut(depth, CAMERA, center, 250.0, mirror=m) for m in (False, True))
    assert np.array_equal(plain.patch, mirrored.patch[:, ::-1])
    assert plain.camera == mirrored.camera


def test_outside_the_image_there_is_nothing() -> None:
    depth = np.full((480, 640), 600.0, np.float32)
    assert (HandCrop.cut(depth, CAMERA, np.array([5000.0, 0, 600]), 250.0).patch == 1).all()
    patch = HandCrop.cut(depth, CAMERA, CAMERA.unproject(np.array([-0.5, 240, 600])), 250.0).patch
    assert (patch[:, : PATCH // 2] == 1).all()
    assert (patch[:, PATCH // 2 :] == 0).all()


@pytest.mark.parametrize("center", [[0, 0, 0], [0, 0, -5], [0, 0, np.nan], [1, 2], [np.inf, 0, 500]])
def test_a_centre_that_is_no_point_before_the_camera_is_refused(center: list[float]) -> None:
    with pytest.raises(HandPoseError, match=r"x, y, z in mm"):
        HandCrop.cut(np.zeros((4, 4), np.float32), CAMERA, center, 250.0)


@pytest.mark.shared
@pytest.mark.parametrize("frame", range(6))
def test_agreement_with_the_original_preprocessing(reference, frame: int) -> None:
    """The original rounds the window to whole pixels; ours is exact, so the two differ by less than a pixel."""
    crops = reference("crops.npz")
    depth, k = crops[f"f{frame}/depth"].astype(np.float32), crops[f"f{frame}/K_importer"].tolist()
    camera = Camera(*k, depth.shape[1], depth.shape[0])
    down = np.array([1, -1, 1])  # the reference has y up
    crop = HandCrop.cut(depth, camera, crops[f"f{frame}/com3D"] * down, float(crops[f"f{frame}/cube"][0]))
    joints = crop.camera.project(crops[f"f{frame}/gt3Dorig"] * down)
    assert np.abs(joints[:, :2] - crops[f"f{frame}/gtcrop"][:, :2]).max() < 0.8
    theirs = crops[f"f{frame}/norm_test"]
    here, there = crop.patch < 1, theirs < 1
    assert (here & there).sum() / (here | there).sum() > 0.84
    assert np.median(np.abs(crop.patch - theirs)[here & there]) < 0.02
