from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from handpose.errors import HandPoseError
from handpose.geometry.camera import Camera
from handpose.geometry.crop import HandCrop
from handpose.io.depth.read import read_depth
from handpose.localization.centers import center_in_box, read_centers
from handpose.localization.localizer import hand_candidates, localize_hands
from handpose.localization.network import CELL_VALUES
from tests.helpers.paths import EXAMPLES, SHARED
from tests.helpers.scenes import arm_with_hand, render_balls


def unit(*xyz: float) -> np.ndarray:
    return np.array(xyz) / np.linalg.norm(xyz)


# The hand center lies 80 mm in front of the wrist.
ARMS = {
    "from below": (unit(0, -1, 0), [0, 20, 600]),
    "from above": (unit(0, 1, 0), [0, -40, 600]),
    "from the left": (unit(1, 0, 0), [-60, 0, 600]),
    "from the right": (unit(-1, 0, 0), [60, 0, 600]),
    "from a corner": (unit(-1, -1, 0), [60, 60, 500]),
    "from below the camera": (unit(0, -0.8, 0.6), [0, 40, 500]),
    "toward the camera": (unit(0.2, -0.7, -0.7), [0, 40, 600]),
}


@pytest.mark.parametrize("name", ARMS)
def test_the_hand_is_the_end_of_an_arm_that_enters_from_any_border(camera: Camera, name: str) -> None:
    direction, wrist = ARMS[name]
    center = np.array(wrist) + direction * 80.0
    depth = render_balls(camera, arm_with_hand(direction, np.array(wrist, float), 420.0))
    centers = localize_hands(depth, camera)
    assert centers.shape == (1, 3)
    assert np.linalg.norm(centers[0] - center) < 45.0


def test_a_body_in_the_background_does_not_move_the_center(camera: Camera) -> None:
    hand = arm_with_hand(unit(0.3, -1, 0), np.array([-80.0, 60.0, 550.0]), 420.0)
    body = [(np.array([60.0, 250.0, 1050.0]), 260.0), (np.array([60.0, -120.0, 950.0]), 100.0)]
    alone, in_front = (localize_hands(render_balls(camera, balls), camera)[0] for balls in (hand, hand + body))
    assert np.linalg.norm(alone - in_front) < 20.0


@pytest.mark.parametrize("name", ["open", "thumb", "down"])
@pytest.mark.parametrize("margin", [0, 10, 40])
def test_a_window_of_an_image_shows_the_same_hand(name: str, margin: int) -> None:
    depth, camera = read_depth(EXAMPLES / f"{name}.png"), Camera.parse(str(EXAMPLES / "camera.json"))
    center = localize_hands(depth, camera)[0]
    corners = camera.project(center + np.array([[-95.0, -95.0, 0.0], [95.0, 95.0, 0.0]]))
    left, top, right, bottom = corners[:, :2].astype(int).ravel()
    left, top, right, bottom = max(0, left - margin), max(0, top - margin), right + margin, bottom + margin
    window = np.ascontiguousarray(depth[top:bottom, left:right])
    shifted = Camera(camera.fx, camera.fy, camera.cx - left, camera.cy - top)
    assert np.linalg.norm(localize_hands(window, shifted)[0] - center) < 20.0
    padded = Camera(camera.fx, camera.fy, shifted.cx + 100, shifted.cy + 100)
    assert np.linalg.norm(localize_hands(np.pad(window, 100), padded)[0] - center) < 20.0


@pytest.mark.parametrize("name", ["open", "thumb", "down"])
def test_an_isolated_hand_is_still_found(name: str) -> None:
    depth, camera = read_depth(EXAMPLES / f"{name}.png"), Camera.parse(str(EXAMPLES / "camera.json"))
    center = localize_hands(depth, camera)[0]
    v, u = np.indices(depth.shape)
    points = camera.unproject(np.stack([u, v, np.maximum(depth, 1)], axis=-1).reshape(-1, 3).astype(float))
    near = (np.linalg.norm(points - center, axis=1) < 120.0).reshape(depth.shape)
    assert np.linalg.norm(localize_hands(np.where(near, depth, 0), camera)[0] - center) < 25.0


@pytest.mark.parametrize("name", ["open", "thumb", "down"])
def test_the_mirror_image_has_the_mirrored_center(name: str) -> None:
    depth, camera = read_depth(EXAMPLES / f"{name}.png"), Camera.parse(str(EXAMPLES / "camera.json"))
    center = localize_hands(depth, camera)[0]
    mirrored = Camera(camera.fx, camera.fy, depth.shape[1] - 1 - camera.cx, camera.cy)
    found = localize_hands(np.ascontiguousarray(depth[:, ::-1]), mirrored)[0]
    assert np.linalg.norm(found - center * [-1, 1, 1]) < 20.0


@pytest.mark.parametrize("rows", [0, 1])
@pytest.mark.parametrize("columns", [0, 1])
def test_missing_rows_and_columns_hide_no_hand(rows: int, columns: int) -> None:
    depth, camera = read_depth(EXAMPLES / "open.png"), Camera.parse(str(EXAMPLES / "camera.json"))
    holes = depth.copy()
    holes[rows::2] = 0
    holes[:, columns::2] = 0
    assert np.linalg.norm(localize_hands(holes, camera)[0] - localize_hands(depth, camera)[0]) < 10.0


def test_two_hands_are_ordered_by_distance(camera: Camera) -> None:
    right = arm_with_hand(unit(0, -1, 0), np.array([150.0, 60.0, 700.0]), 420.0)
    left = arm_with_hand(unit(0, -1, 0), np.array([-150.0, 40.0, 600.0]), 420.0)
    centers = localize_hands(render_balls(camera, right + left), camera, max_hands=3)
    assert len(centers) == 2
    assert centers[0][0] < -100 < 100 < centers[1][0]
    assert localize_hands(render_balls(camera, right + left), camera)[0].tolist() in centers.tolist()


def empty(shape: tuple[int, int]) -> np.ndarray:
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize(
    "depth",
    [
        empty((480, 640)),
        empty((480, 640)) + 900,  # a wall
        np.tile(np.linspace(600, 1500, 640, dtype=np.float32), (480, 1)),  # a slanted wall
        empty((480, 640)) + 6000,
        np.where(np.random.default_rng(0).random((480, 640)) < 0.01, 500, 0).astype(np.float32),  # speckle noise
        empty((1, 1)) + 500,
    ],
    ids=["empty", "wall", "slanted wall", "far", "speckle noise", "one pixel"],
)
def test_images_without_a_hand_have_no_center(camera: Camera, depth: np.ndarray) -> None:
    if depth.shape == (1, 1):
        camera = Camera(500.0, 500.0, 0.0, 0.0)
    assert localize_hands(depth, camera).shape == (0, 3)


def test_images_of_the_wrong_shape_are_rejected(camera: Camera) -> None:
    for depth, message in (
        (empty((240, 300)), "300 x 240 px.*640 x 480 px"),
        (empty((4, 4, 1)), r"must be \(H, W\)"),
    ):
        with pytest.raises(HandPoseError, match=message):
            localize_hands(depth, camera)
    assert localize_hands(empty((2, 640)) + 500, Camera(500.0, 500.0, 320.0, 1.0)).shape == (0, 3)


@pytest.mark.parametrize("name", ["thumb", "down"])
def test_one_hand_is_not_counted_twice(name: str) -> None:
    depth, camera = read_depth(EXAMPLES / f"{name}.png"), Camera.parse(str(EXAMPLES / "camera.json"))
    assert len(localize_hands(depth, camera, max_hands=4)) == 1


def test_center_of_the_surface_in_a_box(camera: Camera) -> None:
    ball = np.array([100.0, -50.0, 700.0])
    depth = render_balls(camera, [(ball, 45.0), (np.array([-150.0, 0.0, 500.0]), 45.0)])
    depth[depth == 0] = 1500.0
    u, v, _ = camera.project(ball)
    center = center_in_box(depth, camera, (u - 32, v - 32, 64, 64))
    assert np.linalg.norm(center - ball + [0, 0, 30]) < 8.0
    assert center_in_box(empty((480, 640)), camera, (0, 0, 50, 50)) is None
    assert center_in_box(depth, camera, (-500, -500, 50, 50)) is None
    with pytest.raises(HandPoseError, match="a box is"):
        center_in_box(depth, camera, (0, 0, -5, 5))


def test_center_files(tmp_path: Path) -> None:
    path = tmp_path / "centers.txt"
    path.write_text("15.5 -1.5 341.0\ninvalid\n195 20 405\n")
    centers = read_centers(path, y_up=False)
    assert centers[[0, 2]].tolist() == [[15.5, -1.5, 341.0], [195.0, 20.0, 405.0]]
    assert np.isnan(centers[1]).all()
    assert read_centers(path, y_up=True)[0].tolist() == [15.5, 1.5, 341.0]
    path.write_text("1 2 3\n4 5\n")
    with pytest.raises(HandPoseError, match="line 2: expected x y z"):
        read_centers(path, y_up=True)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("file", "frames", "y_up"),
    [("ICVL/icvl_center_3D_test_refined.txt", (2, 3), False), ("MSRA/center/center_test_0_refined.txt", (4, 5), True),
     ("NYU/test_center_NYU.txt", (0, 1), True)],
)  # fmt: skip
def test_axes_of_published_center_files(reference, file: str, frames: tuple[int, int], y_up: bool) -> None:
    centers = read_centers(SHARED / "reference" / "minidata" / file, y_up=y_up)
    crops = reference("crops.npz")
    for center, frame in zip(centers, frames, strict=True):
        assert np.allclose(center * [1, -1, 1], crops[f"f{frame}/com3D"], atol=1e-3)


REAL = sorted((SHARED / "frames" / "sr305").glob("*.png"))


@pytest.mark.shared
@pytest.mark.parametrize("path", REAL or ["none"], ids=lambda path: getattr(path, "stem", path))
def test_the_crop_contains_the_whole_hand_of_a_real_frame(path: Path) -> None:
    camera = Camera(476.007, 476.007, 313.683, 242.755, 640, 480)
    depth = read_depth(path, 0.125)
    crop = HandCrop.cut(depth, camera, localize_hands(depth, camera)[0], 250.0)
    x, y, width, height = json.loads((path.parent / "labels.json").read_text())[path.name]["box"]
    corners = np.array([[x, y, crop.center[2]], [x + width, y + height, crop.center[2]]], float)
    inside = crop.camera.project(camera.unproject(corners))[:, :2]
    assert (inside > 0).all()
    assert (inside < 95).all()


def test_votes_for_a_center_behind_the_camera_do_not_count() -> None:
    def network(channels: np.ndarray) -> np.ndarray:
        """All cells are sure of a hand whose center is a meter nearer than they are."""
        _, _, height, width = channels.shape
        votes = np.zeros((1, CELL_VALUES, 4, height // 4, width // 4), np.float32)
        votes[:, 0], votes[:, 3] = 9.0, -10.0
        return votes.reshape(1, 4 * CELL_VALUES, height // 4, width // 4)

    depth, camera = np.full((120, 160), 600.0, np.float32), Camera(120.0, 120.0, 80.0, 60.0)
    centers, areas = hand_candidates(depth, camera, 3, network)
    assert centers.shape == (0, 3)
    assert areas.shape == (0,)
    assert len(hand_candidates(depth + 800, camera, 3, network)[0]) > 0


def test_faint_candidates_include_the_likely_ones() -> None:
    """A cell for which the network is not sure of a hand is a faint candidate only."""

    def network(channels: np.ndarray) -> np.ndarray:
        _, _, height, width = channels.shape
        votes = np.full((1, CELL_VALUES, 4, height // 4, width // 4), 0.0, np.float32)
        votes[:, 0] = np.where(np.arange(width // 4) < width // 8, -3.0, 4.0)  # probabilities of 0.05 and 0.98
        return votes.reshape(1, 4 * CELL_VALUES, height // 4, width // 4)

    depth, camera = np.zeros((120, 160), np.float32), Camera(120.0, 120.0, 80.0, 60.0)
    depth[48:72, 20:44] = depth[48:72, 116:140] = 500.0
    likely, _ = hand_candidates(depth, camera, 6, network)
    faint, areas = hand_candidates(depth, camera, 6, network, faint=True)
    assert (likely[:, 0] > 0).all()
    assert len(likely) == 1
    assert np.allclose(faint[0], likely[0])
    assert faint[1, 0] < 0
    assert areas[1] < 0.1 * areas[0]
