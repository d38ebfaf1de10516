"""Cameras as other programs write them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from handpose.errors import HandPoseError
from handpose.geometry.camera import CAMERAS, Camera
from handpose.geometry.distortion import Distortion

NUMBERS = {"fx": 476.0, "fy": 475.5, "cx": 313.75, "cy": 242.5}
MATRIX = [[476.0, 0.0, 313.75], [0.0, 475.5, 242.5], [0.0, 0.0, 1.0]]
ROWS, COLUMNS = np.ravel(MATRIX).tolist(), np.ravel(np.transpose(MATRIX)).tolist()
PRINCIPAL = {"fx": 476.0, "fy": 475.5, "ppx": 313.75, "ppy": 242.5}
SIZE = {"width": 640, "height": 480}
CAMERA, SIZED = Camera(**NUMBERS), Camera(**NUMBERS, **SIZE)
LENS = (0.09, -0.27, 0.001, -0.002, 0.09)
PLUMB_BOB = Camera(**NUMBERS, **SIZE, distortion=Distortion("brown_conrady", LENS))

ROS_1 = f"""header:
  seq: 12
  frame_id: "camera_depth"
height: 480
width: 640
distortion_model: "plumb_bob"
D: {list(LENS)}
K: {ROWS}
R: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
P: [400.0, 0.0, 300.0, 0.0, 0.0, 400.0, 240.0, 0.0, 0.0, 0.0, 1.0, 0.0]
binning_x: 0
roi:
  x_offset: 0
  y_offset: 0
  height: 0
  width: 0
  do_rectify: False
---
"""
ROS_2 = (
    "height: 480\nwidth: 640\ndistortion_model: plumb_bob\nd:\n- 0.0\n- 0.0\n- 0.0\n- 0.0\n- 0.0\nk:\n"
    + "".join(f"- {number}\n" for number in ROWS)
    + "roi:\n  x_offset: 0\n  y_offset: 0\n  height: 0\n  width: 0\n---\nheight: 480\n---\n"
)
ROS_WINDOW = (
    f"height: 480\nwidth: 640\nK: {ROWS}\nroi:\n  x_offset: 209\n  y_offset: 158\n  height: 220\n  width: 230\n"
)
CALIBRATION = f"""image_width: 640
image_height: 480
camera_name: depth
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: {list(LENS)}
camera_matrix:
  rows: 3
  cols: 3
  data: {ROWS}
"""
OPENCV = f"""%YAML:1.0
---
image_width: 640
image_height: 480
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 476., 0., 313.75, 0., 475.5, 242.5, 0., 0., 1. ]
distortion_coefficients: !!opencv-matrix
   rows: 5
   cols: 1
   dt: d
   data: {list(LENS)}
"""
KALIBR = """cam0:
  camera_model: pinhole
  intrinsics: [476.0, 475.5, 313.75, 242.5]
  resolution: [640, 480]
  distortion_model: radtan
  distortion_coeffs: [0.09, -0.27, 0.001, -0.002]
"""
RADTAN = Camera(**NUMBERS, **SIZE, distortion=Distortion("brown_conrady", LENS[:4]))
REALSENSE = PRINCIPAL | SIZE | {"model": "distortion.brown_conrady", "coeffs": list(LENS)}


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("realsense.json", json.dumps(REALSENSE), PLUMB_BOB),
        ("realsense.json", json.dumps(REALSENSE | {"coeffs": [0] * 5}), SIZED),
        ("open3d.json", json.dumps({**SIZE, "intrinsic_matrix": COLUMNS}), SIZED),
        ("open3d.json", json.dumps({"extrinsic": [0] * 16, "intrinsic": {**SIZE, "intrinsic_matrix": COLUMNS}}), SIZED),
        ("rows.json", json.dumps({**SIZE, "intrinsic_matrix": ROWS}), SIZED),
        ("k.json", json.dumps({"K": MATRIX}), CAMERA),
        ("bare.json", json.dumps(MATRIX), CAMERA),
        ("cam_k.json", json.dumps({"0": {"cam_K": ROWS}, "1": {"cam_K": ROWS}}), CAMERA),
        ("nested.json", json.dumps({"depth_scale": 0.000125, "intrinsics": NUMBERS | SIZE}), SIZED),
        ("wh.json", json.dumps(NUMBERS | {"w": 640, "h": 480}), SIZED),
        ("text.json", json.dumps({name: str(number) for name, number in NUMBERS.items()}), CAMERA),
        ("flat.json", json.dumps({**NUMBERS, **SIZE, "k1": 0.09, "k2": -0.27, "p1": 0.001, "p2": -0.002}), RADTAN),
        ("own.json", json.dumps(PLUMB_BOB.to_dict()), PLUMB_BOB),
        ("ros1.yaml", ROS_1, PLUMB_BOB),
        ("ros1.yaml", ROS_1.replace("\n", "\r\n"), PLUMB_BOB),
        ("ros2.yaml", ROS_2, SIZED),
        ("nested.yaml", "depth:\n" + "".join(f"  {line}\n" for line in ROS_2.splitlines()[:-3]), SIZED),
        ("window.yaml", ROS_WINDOW, SIZED.crop(209, 158, 230, 220)),
        ("calibration.yaml", CALIBRATION, PLUMB_BOB),
        ("opencv.yml", OPENCV, PLUMB_BOB),
        ("kalibr.yaml", KALIBR, RADTAN),
        ("numbers.txt", "476.0 475.5 313.75 242.5\n", CAMERA),
        ("matrix.txt", "\n".join(" ".join(map(str, row)) for row in MATRIX), CAMERA),
    ],
)
def test_a_camera_file_of_another_program(tmp_path: Path, name: str, content: str, expected: Camera) -> None:
    (tmp_path / name).write_bytes(content.encode())
    assert Camera.parse(str(tmp_path / name)) == expected


def test_a_file_of_powershell_is_utf_16(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(NUMBERS), encoding="utf-16")
    assert Camera.parse(str(tmp_path / "a.json")) == CAMERA


EQUIDISTANT = ROS_1.replace("plumb_bob", "equidistant").replace(str(list(LENS)), "[0.01, -0.02, 0.003, -0.0004]")
RATIONAL = ROS_1.replace("plumb_bob", "rational_polynomial").replace(str(list(LENS)), "[3, 2, 0, 0, 0.1, 3.4, 3, 0.6]")
TWO = "color:\n  fx: 614\n  fy: 614\n  ppx: 313\n  ppy: 242\ndepth:\n  fx: 384\n  fy: 384\n  ppx: 321\n  ppy: 238\n"


@pytest.mark.parametrize(
    "lens",
    [
        {"model": "equidistant", "distortion": {"k1": 0.1, "k2": 0.01, "k3": 0.002, "k4": 0.001}},
        {"distortion": {"model": "equidistant", "k1": 0.1, "k2": 0.01, "k3": 0.002, "k4": 0.001}},
        {"distortion_model": "equidistant", "distortion_coefficients": {"data": [0.1, 0.01, 0.002, 0.001]}},
        {"distortion": {"model": "equidistant", "data": [0.1, 0.01, 0.002, 0.001]}},
        {"distortion_type": "fisheye", "dist_coeffs": [0.1, 0.01, 0.002, 0.001]},
        {"fisheye_model": 1, "distortion_coefficients": {"rows": 4, "cols": 1, "data": [0.1, 0.01, 0.002, 0.001]}},
    ],
)
def test_the_model_of_a_lens_is_stated_next_to_its_section_or_in_it(lens: dict[str, Any]) -> None:
    """The expected image points are those of OpenCV's fisheye model."""
    camera = Camera.of(NUMBERS | SIZE | lens)
    points = np.array([[0.3, -0.2, 1.0], [-0.6, 0.4, 1.0]])
    matrix = np.array([[camera.fx, 0.0, camera.cx], [0.0, camera.fy, camera.cy], [0.0, 0.0, 1.0]])
    coefficients = np.array([0.1, 0.01, 0.002, 0.001])
    expected, _ = cv2.fisheye.projectPoints(points[:, None], np.zeros(3), np.zeros(3), matrix, coefficients)
    np.testing.assert_allclose(camera.project(points)[:, :2], expected[:, 0], atol=1e-6)


@pytest.mark.parametrize("name", ["dist", "dist_coeff", "distCoef", "distortion_coefs", "distortion_params", "D"])
def test_the_coefficients_of_a_lens_have_several_names(name: str) -> None:
    assert Camera.of(NUMBERS | SIZE | {name: [list(LENS)]}) == PLUMB_BOB


def test_an_empty_name_of_the_model_does_not_mean_that_there_is_no_lens(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(CALIBRATION.replace("plumb_bob", ""))
    assert Camera.parse(str(tmp_path / "a.yaml")) == PLUMB_BOB
    assert Camera.of(REALSENSE | {"model": "distortion.none"}) == SIZED


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (EQUIDISTANT, Distortion("kannala_brandt", (0.01, -0.02, 0.003, -0.0004))),
        (
            RATIONAL,
            Distortion("brown_conrady", (3.0, 2.0, 0.0, 0.0, 0.1, 3.4, 3.0, 0.6)),
        ),
    ],
)
def test_the_lens_models_of_ros(tmp_path: Path, content: str, expected: Distortion) -> None:
    (tmp_path / "a.yaml").write_text(content)
    assert Camera.parse(str(tmp_path / "a.yaml")).distortion == expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("dexycb.yml", TWO, "several cameras: color, depth"),
        ("a.json", json.dumps(NUMBERS | {"K": [[500, 0, 320], [0, 500, 240], [0, 0, 1]]}), "several cameras"),
        ("a.json", json.dumps({"fx": 476.0, "fy": 476.0}), "found fx, fy$"),
        ("a.json", json.dumps({"fx": 1.487, "fy": 1.983, "cx": 0.49, "cy": 0.506}), "multiply fx and cx by the width"),
        ("a.json", json.dumps({"K": [[476, 1.5, 313], [0, 476, 242], [0, 0, 1]]}), "skew"),
        ("a.json", json.dumps(REALSENSE | {"model": "distortion.ftheta"}), "distortion.ftheta is not supported"),
        ("a.json", json.dumps(REALSENSE | {"coeffs": [0.1, 0.2]}), "4 or 5 or 8 or 12 or 14 finite coefficients"),
        ("a.json", json.dumps(NUMBERS | {"RadialDistortion": [0.1, -0.2]}), "in radialdistortion are not recognized"),
        ("a.yaml", "a: &a [1, 1]\nb: &b [*a, *a]\nK: [*b, *b]\n", "aliases are not supported"),
        ("a.yaml", "fx: [\n", "not YAML"),
        ("a.json", '{"K": ' + "[" * 900 + "]" * 900 + "}", r"a\.json: "),
    ],
)  # fmt: skip
def test_what_is_no_single_usable_camera_is_rejected(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(HandPoseError, match=message):
        Camera.parse(str(tmp_path / name))


def test_cameras_in_python(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(NUMBERS))
    assert Camera.of("nyu") is CAMERAS["nyu"]
    assert Camera.of(tmp_path / "a.json") == Camera.of((476, 475.5, 313.75, 242.5)) == CAMERA
    assert Camera.of(MATRIX) == Camera.of(np.array(MATRIX, np.float32)) == Camera.of(NUMBERS) == CAMERA
    assert Camera.of(np.array([476, 475.5, 313.75, 242.5, 640, 480])) == SIZED
    assert Camera.of(SimpleNamespace(**SIZE, intrinsic_matrix=np.array(MATRIX))) == SIZED  # Open3D
    for wrong in (3, np.zeros((3, 3)), (1, 2, 3), object(), None):
        with pytest.raises(HandPoseError, match="camera must be"):
            Camera.of(wrong)


@pytest.mark.parametrize(
    ("model", "coefficients"),
    [
        ("none", (0.0, 0.0, 0.0, 0.0, 0.0)),
        ("brown_conrady", (0.1, -0.2, 0.001, -0.002, 0.05)),
        ("modified_brown_conrady", (0.1, -0.2, 0.0005, -0.001, 0.05)),
        ("kannala_brandt4", (-0.02, 0.01, -0.004, 0.0006, 0.0)),
    ],
)
def test_a_realsense_camera_projects_like_its_sdk(model: str, coefficients: tuple[float, ...]) -> None:
    rs = pytest.importorskip("pyrealsense2")
    lens = rs.intrinsics()
    lens.fx, lens.fy, lens.ppx, lens.ppy, lens.width, lens.height = 400.0, 401.0, 321.0, 238.0, 640, 480
    lens.model, lens.coeffs = getattr(rs.distortion, model), list(coefficients)
    camera = Camera.of(lens)
    assert camera.width == 640
    points = np.array([[200.0, 100.0, 500.0], [-300.0, -250.0, 500.0], [10.0, 200.0, 400.0]])
    expected = [rs.rs2_project_point_to_pixel(lens, point.tolist()) for point in points]
    assert np.abs(camera.project(points)[:, :2] - expected).max() < 0.1
    assert np.abs(camera.unproject(camera.project(points)) - points).max() < 1e-3


def test_the_inverse_model_of_realsense_removes_the_distortion() -> None:
    """The documented direction, that of the SR300: this polynomial leads from the image to the ray."""
    lens = REALSENSE | {"model": "Inverse Brown Conrady", "coeffs": [0.1, -0.05, 0.001, -0.002, 0.02]}
    camera = Camera.of(lens)
    u, v = 600.0, 100.0
    x, y = (u - 313.75) / 476.0, (v - 242.5) / 475.5
    r2 = x * x + y * y
    factor = 1 + 0.1 * r2 - 0.05 * r2**2 + 0.02 * r2**3
    ray = (
        x * factor + 2 * 0.001 * x * y - 0.002 * (r2 + 2 * x * x),
        y * factor - 2 * 0.002 * x * y + 0.001 * (r2 + 2 * y * y),
    )
    assert camera.unproject(np.array([u, v, 1.0]))[:2] == pytest.approx(ray)
    assert camera.project(camera.unproject(np.array([u, v, 500.0]))) == pytest.approx([u, v, 500.0])
