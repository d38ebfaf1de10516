from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handpose.errors import HandPoseError
from handpose.geometry.camera import CAMERAS, Camera
from handpose.geometry.distortion import Distortion
from handpose.inference.query import Query

lengths = st.floats(-800, 800)
points = st.tuples(lengths, lengths, st.floats(100, 2000)).map(np.array)


@given(points)
def test_unproject_inverts_project(xyz: np.ndarray) -> None:
    camera = CAMERAS["nyu"]
    assert np.allclose(camera.unproject(camera.project(xyz)), xyz, atol=1e-6)


def test_project_follows_the_pinhole_formula() -> None:
    camera = Camera(500, 400, 320, 240)
    assert camera.project(np.array([[100.0, -50.0, 1000.0]])).tolist() == [[370.0, 220.0, 1000.0]]


@given(points, st.integers(0, 60), st.integers(0, 60), st.sampled_from([0.5, 2.0, 3.0]))
def test_crop_and_resize_transform_pixels_like_the_image(xyz: np.ndarray, x: int, y: int, factor: float) -> None:
    camera = Camera(300, 310, 99.5, 80.25, 200, 160)
    u, v, _ = camera.project(xyz)
    small = camera.crop(x, y, 120, 80)
    assert np.allclose(small.project(xyz)[:2], [u - x, v - y])
    # At any resolution, the left edge of the image is half a pixel from the center of the first pixel.
    resized = small.resize(120 * factor, 80 * factor)
    assert np.allclose(resized.project(xyz)[:2] + 0.5, (np.array([u - x, v - y]) + 0.5) * factor)


def test_a_camera_fits_integer_multiples_and_fractions_of_its_image_size() -> None:
    camera = Camera(241.42, 241.42, 160, 120, 320, 240)
    assert camera.for_image(320, 240) == camera
    assert camera.for_image(640, 480).fx == pytest.approx(482.84)
    assert camera.for_image(640, 480).cx == pytest.approx(320.5)
    assert camera.for_image(160, 120).fx == pytest.approx(120.71)
    assert Camera(500, 500, 320, 240).for_image(640, 480).width == 640


@pytest.mark.parametrize("size", [(240, 320), (640, 400), (480, 360), (300, 225)])
def test_an_image_of_another_shape_is_rejected_with_both_sizes(size: tuple[int, int]) -> None:
    with pytest.raises(HandPoseError, match=rf"{size[0]} x {size[1]} px.*320 x 240 px"):
        CAMERAS["msra"].for_image(*size)


def test_json_files_presets_and_numbers(tmp_path) -> None:
    path = tmp_path / "camera.json"
    path.write_text(json.dumps(CAMERAS["nyu"].to_dict()))
    assert Camera.parse(str(path)) == Camera.parse("nyu") == CAMERAS["nyu"]
    assert Camera.parse("476,475.5,313,242") == Camera(476, 475.5, 313, 242)
    assert Camera.parse(" 476  475.5 313\t242") == Camera(476, 475.5, 313, 242)
    assert Camera.parse("476,475.5,313,242,640,480").width == 640
    lens = Camera.parse("476,475.5,313,242,640,480,0.1,-0.2,0,0").distortion
    assert lens == Distortion("brown_conrady", (0.1, -0.2, 0.0, 0.0))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("kinect", None, "must be one of icvl, nyu, msra"),
        ("1,2,3", None, "must be one of"),
        ("0,400,320,240", None, "focal lengths above 0"),
        ("nan,400,320,240", None, "finite"),
        ("missing.json", None, "no such file"),
        ("a.json", "{", "not JSON"),
        ("a.json", "[1, 2]", "expected fx, fy, cx, cy"),
        ("a.json", '{"fx": 1, "fy": 2, "cx": 3}', "found fx, fy, cx"),
        ("a.json", '{"fx": "wide", "fy": 2, "cx": 3, "cy": 4}', "expected a number"),
        ("a.yaml", "width: 640\nheight: 480\n", "found width, height"),
        ("a.yaml", "width: 640\nheight: 480\nK: [476.0, 0.0, 319.5]\n", r"a\.yaml: "),
        ("a.yaml", "width: 640\nheight: 480\nK: [0, 0, 0, 0, 0, 0, 0, 0, 0]\n", "matrix of a calibrated camera"),
    ],
)
def test_an_invalid_camera_is_rejected(tmp_path, monkeypatch, name: str, content: str | None, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(HandPoseError, match=message):
        Camera.parse(name)


def test_the_camera_of_the_rotated_image_is_recognized() -> None:
    with pytest.raises(HandPoseError, match="camera of the rotated image"):
        Camera(475.0, 475.0, 310.0, 245.0, 640, 480).for_image(480, 640)


def test_a_projection_matrix_is_a_camera_unless_it_has_the_offset_of_a_stereo_pair() -> None:
    projection = np.array([[475.0, 0.0, 310.0, 0.0], [0.0, 476.0, 245.0, 0.0], [0.0, 0.0, 1.0, 0.0]])
    assert Camera.of(projection) == Camera.of(projection.ravel().tolist()) == Camera(475.0, 476.0, 310.0, 245.0)
    projection[0, 3] = -23.75  # a baseline of 50 mm
    with pytest.raises(HandPoseError, match="right camera of a stereo pair"):
        Camera.of(projection)


@pytest.mark.parametrize("shape", [(3, 3), (3, 4), (5, 5), (2,), (40, 40)])
def test_messages_about_arrays_are_one_line(shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).uniform(1.0, 2.0, shape)
    for call in (
        lambda: Camera.of(array),
        lambda: Camera.of({"K": array}),
        lambda: Camera.of({"fx": array, "fy": 1, "cx": 1, "cy": 1}),
        lambda: Query(box=array),
        lambda: Query(center=array.astype(str).astype(object) + "a"),
        lambda: Camera(1.0, 1.0, 1.0, 1.0, distortion=array),
    ):
        with pytest.raises(HandPoseError) as caught:
            call()
        assert "\n" not in str(caught.value)
