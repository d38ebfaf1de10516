from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from handpose.errors import HandPoseError
from handpose.geometry.camera import Camera, Cameras
from handpose.geometry.crop import HandCrop
from handpose.geometry.distortion import Distortion
from handpose.geometry.rectification import is_distorted, rectify
from tests.helpers.scenes import AZURE_KINECT

FISHEYE = Camera(200, 200, 320, 240, 640, 480, Distortion("kannala_brandt", (-0.02, 0.01, -0.004, 0.0006)))
FOLDING = Camera(300, 300, 320, 240, 640, 480, Distortion("brown_conrady", (-0.4, 0.0, 0.0, 0.0)))


def plane(camera: Camera) -> np.ndarray:
    """A slanted plane in front of a camera, imaged ray by ray."""
    v, u = np.indices((int(camera.height), int(camera.width)))
    rays = camera.unproject(np.stack([u, v, np.ones(u.shape)], axis=-1))
    return (500.0 / (rays @ (0.2, -0.15, 1.0))).astype(np.float32)


@pytest.mark.parametrize("camera", [AZURE_KINECT, FISHEYE, FOLDING])
def test_a_rectified_image_is_that_of_a_pinhole_camera(camera: Camera) -> None:
    original = plane(camera)
    depth, pinhole = rectify(original, camera)
    assert pinhole.distortion is None
    assert depth.shape == (pinhole.height, pinhole.width)
    seen = depth > 0
    errors = np.abs(depth - plane(pinhole))[seen]
    # The nearest pixel of the original is up to half a pixel away along each axis.
    assert errors.max() < 2 * max(np.abs(np.diff(original, axis=axis)).max() for axis in (0, 1))
    assert np.median(errors) < 0.5
    assert seen.mean() > 0.3


@pytest.mark.parametrize("camera", [AZURE_KINECT, FISHEYE])
def test_every_pixel_of_the_image_is_in_the_rectified_one(camera: Camera) -> None:
    _, pinhole = rectify(plane(camera), camera)
    border = np.array([[0, 0, 500], [320, 0, 500], [639, 240, 500], [320, camera.height - 1, 500], [0, 300, 500]])
    rays = camera.unproject(border)
    narrow = np.abs(rays[:, :2] / rays[:, 2:]).max(axis=1) < 1.7
    u, v, _ = pinhole.project(rays[narrow]).T
    assert (u >= -0.5).all()
    assert (v >= -0.5).all()
    assert (u <= pinhole.width).all()
    assert (v <= pinhole.height).all()


def test_beyond_the_limit_of_the_polynomial_nothing_is_invented() -> None:
    # r - 0.4 r^3 grows up to r = 0.91 and maps farther rays back into the image.
    assert FOLDING.distortion is not None
    assert FOLDING.distortion.limit == pytest.approx((1 / 1.2) ** 0.5, abs=0.01)
    depth, pinhole = rectify(np.full((480, 640), 500, np.float32), FOLDING)
    v, u = np.nonzero(depth)
    assert np.hypot((u - pinhole.cx) / pinhole.fx, (v - pinhole.cy) / pinhole.fy).max() < 0.92
    far = FOLDING.project(np.array([[1200.0, 0.0, 500.0]]))
    assert far[0, 0] > 639


def test_a_distortion_below_half_a_pixel_changes_nothing() -> None:
    depth = np.full((480, 640), 500, np.float32)
    small = Camera(476, 476, 319.5, 239.5, 640, 480, Distortion("brown_conrady", (1e-4, 0, 0, 0)))
    image, pinhole = rectify(depth, small)
    assert image is depth
    assert pinhole == dataclasses.replace(small, distortion=None)
    assert not is_distorted(small)
    large = Camera(476, 476, 319.5, 239.5, 640, 480, Distortion("brown_conrady", (4e-3, 0, 0, 0)))
    assert is_distorted(large)


def test_a_crop_and_a_resized_image_have_the_same_lens() -> None:
    points = np.array([[100.0, -150.0, 500.0], [-200.0, 100.0, 450.0]])
    u, v, _ = AZURE_KINECT.project(points).T
    assert np.allclose(AZURE_KINECT.crop(20, 30, 500, 400).project(points).T[:2], [u - 20, v - 30])
    half = AZURE_KINECT.for_image(320, 288)
    assert np.allclose(half.project(points)[:, :2], AZURE_KINECT.project(points)[:, :2] / 2 - 0.25)
    assert np.allclose(half.unproject(half.project(points)), points)


def test_many_cameras_project_like_each() -> None:
    points = np.random.default_rng(0).uniform((-100, -100, 400), (100, 100, 600), (3, 5, 3))
    cameras = [AZURE_KINECT, FISHEYE, Camera(500, 500, 320, 240)]
    uvz = np.stack([camera.project(xyz) for camera, xyz in zip(cameras, points, strict=True)])
    assert np.allclose(Cameras(cameras).project(points), uvz)
    assert np.allclose(Cameras(cameras).unproject(uvz), points)


def test_a_crop_of_a_distorted_image_is_that_of_the_rectified_one() -> None:
    depth, center = plane(AZURE_KINECT), np.array([180.0, 40.0, 470.0])
    crop = HandCrop.cut(depth, AZURE_KINECT, center, 200.0)
    assert np.array_equal(crop.patch, HandCrop.cut(*rectify(depth, AZURE_KINECT), center, 200.0).patch)


def test_a_camera_with_a_lens_survives_its_dictionary() -> None:
    assert Camera.from_dict(AZURE_KINECT.to_dict()) == AZURE_KINECT
    assert Camera(1, 1, 1, 1).to_dict()["distortion"] is None


@pytest.mark.parametrize(
    ("model", "coefficients", "message"),
    [
        ("ftheta", (0.9,), "lens model must be one of"),
        ("brown_conrady", (0.1, 0.2), "4 or 5 or 8 or 12 or 14"),
        ("kannala_brandt", (0.1, float("nan"), 0.0, 0.0), "finite"),
    ],
)
def test_an_invalid_distortion_is_rejected(model: str, coefficients: tuple[float, ...], message: str) -> None:
    with pytest.raises(HandPoseError, match=message):
        Distortion(model, coefficients)  # type: ignore[arg-type]
    with pytest.raises(HandPoseError, match=message):
        Camera.from_dict(
            {"fx": 1, "fy": 1, "cx": 0, "cy": 0, "distortion": {"model": model, "coefficients": coefficients}}
        )
    with pytest.raises(HandPoseError, match="Distortion or None"):
        Camera(500, 500, 320, 240, distortion=coefficients)  # type: ignore[arg-type]
