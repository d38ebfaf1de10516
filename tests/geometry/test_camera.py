from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handpose.errors import HandPoseError
from handpose.geometry.camera import CAMERAS, Camera

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
    with pytest.raises(HandPoseError, match=rf"320 x 240.*{size[0]} x {size[1]}"):
        CAMERAS["msra"].for_image(*size)


ROS_1 = """header:
  seq: 12
  frame_id: "camera_depth"
height: 480
width: 640
distortion_model: "plumb_bob"
D: [0.1, -0.2, 0.0, 0.0, 0.0]
K: [476.007, 0.0, 313.683, 0.0, 475.5, 242.755, 0.0, 0.0, 1.0]
R: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
P: [476.0, 0.0, 313.0, 0.0, 0.0, 475.0, 242.0, 0.0, 0.0, 0.0, 1.0, 0.0]
roi:
  x_offset: 0
  y_offset: 0
  height: 0
  width: 0
  do_rectify: False
"""
ROS_2 = """height: 480
width: 640
d:
- 0.0
k:
- 476.007
- 0.0
- 313.683
- 0.0
- 475.5
- 242.755
- 0.0
- 0.0
- 1.0
roi:
  x_offset: 0
  y_offset: 0
  height: 0
  width: 0
"""
CALIBRATION = """image_width: 640
image_height: 480
camera_name: depth
distortion_coefficients:
  rows: 1
  cols: 5
  data: [9.0, 9.0, 9.0, 9.0, 9.0]
camera_matrix:
  rows: 3
  cols: 3
  data: [4.76007e+02, 0, 313.683,
         0, 475.5, 242.755, 0, 0, 1]
"""


@pytest.mark.parametrize("text", [ROS_1, ROS_2, CALIBRATION], ids=["ros1", "ros2", "calibration"])
def test_ros_camera_info(tmp_path, text: str) -> None:
    path = tmp_path / "camera.yaml"
    path.write_text(text)
    assert Camera.parse(str(path)) == Camera(476.007, 475.5, 313.683, 242.755, 640, 480)


def test_json_files_presets_and_numbers(tmp_path) -> None:
    path = tmp_path / "camera.json"
    path.write_text(json.dumps(CAMERAS["nyu"].to_dict()))
    assert Camera.parse(str(path)) == Camera.parse("nyu") == CAMERAS["nyu"]
    assert Camera.parse("476,475.5,313,242") == Camera(476, 475.5, 313, 242)
    assert Camera.parse("476,475.5,313,242,640,480").width == 640


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("kinect", None, "must be one of icvl, nyu, msra"),
        ("1,2,3", None, "must be one of"),
        ("0,400,320,240", None, "focal lengths above 0"),
        ("nan,400,320,240", None, "finite"),
        ("missing.json", None, "no such file"),
        ("a.json", "{", "not JSON"),
        ("a.json", "[1, 2]", "expected an object"),
        ("a.json", '{"fx": 1, "fy": 2, "cx": 3}', "requires the numbers"),
        ("a.json", '{"fx": "1", "fy": 2, "cx": 3, "cy": 4}', "requires the numbers"),
        ("a.yaml", "width: 640\nheight: 480\n", "expected a ROS camera_info"),
        ("a.yaml", "width: 640\nheight: 480\nK: [476.0, 0.0, 319.5]\n", r"a\.yaml: "),
        ("a.yaml", "width: 640\nheight: 480\nK: [0, 0, 0, 0, 0, 0, 0, 0, 0]\n", "nine numbers of a calibrated camera"),
    ],
)
def test_an_invalid_camera_is_rejected(tmp_path, monkeypatch, name: str, content: str | None, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(HandPoseError, match=message):
        Camera.parse(name)
