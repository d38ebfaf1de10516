"""Frames of the hand and camera extrinsics."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from handpose import ICVL16, MSRA21, NYU14, read_extrinsics
from handpose.errors import HandPoseError
from handpose.geometry.hand_frames import operator_frame, to_frame, wrist_frame
from handpose.geometry.joint_orders import reorder

# From wrist_frame's documentation: operator coordinates are MANO-like ones of MediaPipe's joints times these matrices.
OPERATOR_TO_MANO = {"right": [[0, 0, -1], [-1, 0, 0], [0, 1, 0]], "left": [[0, 0, -1], [1, 0, 0], [0, -1, 0]]}


def flat_hand(hand: str) -> np.ndarray:
    """A hand on a table seen from above, with fingers up in the image, back of the hand toward the camera."""
    xyz = np.zeros((21, 3))
    side = 1.0 if hand == "right" else -1.0  # the little finger of a right hand is on the right
    for finger, x in enumerate((-25.0, 0.0, 20.0, 40.0)):
        for part, y in enumerate((90.0, 130.0, 155.0, 175.0)):
            xyz[1 + 4 * finger + part] = (side * x, -y, 0.0)
    xyz[17:] = [(side * x, y, 0.0) for x, y in ((-30, -20), (-55, -50), (-75, -80), (-85, -105))]
    return xyz + np.array([10.0, 20.0, 500.0])


def rotation(seed: int) -> np.ndarray:
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return q * np.linalg.det(q)


def real_hand(seed: int, hand: str) -> np.ndarray:
    """A hand with its joints moved by about 5 mm and turned."""
    noise = np.random.default_rng(seed).normal(scale=5.0, size=(21, 3))
    return (flat_hand(hand) + noise) @ rotation(seed).T


@pytest.mark.parametrize("hand", ["right", "left"])
def test_axes_of_a_hand_with_its_palm_down(hand: str) -> None:
    xyz = flat_hand(hand)
    up, left, back = (0, -1, 0), (-1, 0, 0), (0, 0, -1)
    np.testing.assert_allclose(wrist_frame(xyz, MSRA21, hand)[:3], np.column_stack([up, left, back, xyz[0]]))
    palm = (0, 0, 1)
    np.testing.assert_allclose(operator_frame(xyz, MSRA21, hand)[:3], np.column_stack([palm, left, up, xyz[0]]))


@pytest.mark.parametrize("hand", ["right", "left"])
@pytest.mark.parametrize("frame", [wrist_frame, operator_frame])
def test_frames_are_rigid_and_turn_with_the_hand(frame: object, hand: str) -> None:
    for seed in range(20):
        xyz = real_hand(seed, hand)
        pose = frame(xyz, MSRA21, hand)  # type: ignore[operator]
        np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-12)
        assert np.linalg.det(pose[:3, :3]) == pytest.approx(1.0)
        turn, shift = rotation(seed + 100), np.array([30.0, -20.0, 100.0])
        turned = frame(xyz @ turn.T + shift, MSRA21, hand)  # type: ignore[operator]
        np.testing.assert_allclose(turned[:3, :3], turn @ pose[:3, :3], atol=1e-12)
        np.testing.assert_allclose(turned[:3, 3], turn @ pose[:3, 3] + shift, atol=1e-9)


def singular_value_frame(keypoints: np.ndarray) -> np.ndarray:
    """The frame of a hand by its published definition, from MediaPipe's wrist, index and middle knuckles."""
    wrist, index, middle = keypoints[[0, 5, 9]]
    corners = np.stack([wrist, index, middle])
    normal = np.linalg.svd(corners - corners.mean(axis=0))[2][2]
    x = wrist - middle
    x = (x - x @ normal * normal) / np.linalg.norm(x - x @ normal * normal)
    z = np.cross(x, normal)
    if z @ (index - middle) < 0:
        normal, z = -normal, -z
    return np.column_stack([x, normal, z])


@pytest.mark.parametrize("hand", ["right", "left"])
def test_the_operator_frame_is_that_of_dex_retargeting(hand: str) -> None:
    for seed in range(20):
        xyz = real_hand(seed, hand)
        keypoints = reorder(xyz, MSRA21, "mediapipe").xyz
        expected = (keypoints - keypoints[0]) @ singular_value_frame(keypoints) @ OPERATOR_TO_MANO[hand]
        frame = operator_frame(xyz, MSRA21, hand)  # type: ignore[arg-type]
        np.testing.assert_allclose(to_frame(keypoints, frame), expected, atol=1e-9)


def test_the_matrices_are_those_of_dex_retargeting() -> None:
    constants = pytest.importorskip("dex_retargeting.constants")
    np.testing.assert_array_equal(constants.OPERATOR2MANO_RIGHT, OPERATOR_TO_MANO["right"])
    np.testing.assert_array_equal(constants.OPERATOR2MANO_LEFT, OPERATOR_TO_MANO["left"])


@pytest.mark.parametrize("layout", [ICVL16, NYU14])
def test_layouts_without_knuckles_have_no_frame(layout: object) -> None:
    with pytest.raises(HandPoseError, match="has no wrist and knuckles"):
        wrist_frame(np.zeros((len(layout), 3)), layout, "right")  # type: ignore[arg-type]


def test_no_hand_has_no_frame() -> None:
    assert np.isnan(wrist_frame(np.full((21, 3), np.nan), MSRA21, "right")[:3]).all()


def write(path: Path, matrix: np.ndarray) -> Path:
    if path.suffix == ".npy":
        np.save(path, matrix)
    elif path.suffix == ".json":
        path.write_text(json.dumps(matrix.tolist()))
    else:
        np.savetxt(path, matrix, fmt="%.6f")
    return path


@pytest.mark.parametrize("name", ["camera.txt", "camera.json", "camera.npy"])
def test_extrinsics_from_a_file(tmp_path: Path, name: str) -> None:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation(3), (0.4, -0.2, 1.1)
    np.testing.assert_allclose(read_extrinsics(write(tmp_path / name, matrix)), matrix, atol=1e-6)


def test_extrinsics_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("1 0 0 0  0 1 0 0  0 0 1 0  0 0 0 1", encoding="utf-8-sig")
    assert np.array_equal(read_extrinsics(tmp_path / "a.txt"), np.eye(4))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m * (1, -1, 1, 1), "not a rotation"),
        (lambda m: m * (1.01, 1, 1, 1), "not a rotation"),
        (lambda m: m.T, "is it transposed"),
        (lambda m: m * np.array([1, 1, 1, 1000.0])[None] - np.diag([0, 0, 0, 999.0]), "in meters"),
        (lambda m: m[:3], "4 x 4 matrix"),
        (lambda m: m * np.nan, "4 x 4 matrix"),
    ],
)
def test_other_matrices_are_rejected(tmp_path: Path, change: object, message: str) -> None:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation(3), (0.4, -0.2, 1.1)
    with pytest.raises(HandPoseError, match=message):
        read_extrinsics(write(tmp_path / "camera.txt", change(matrix)))  # type: ignore[operator]


def test_millimeters_between_a_camera_and_the_flange_of_a_robot_are_reported(tmp_path: Path) -> None:
    matrix = np.eye(4)
    matrix[:3, 3] = (0.0, 60.0, 35.0)
    with pytest.warns(UserWarning, match=r"camera.txt: the translation is 69 m; if it is in mm, divide it by 1000"):
        read_extrinsics(write(tmp_path / "camera.txt", matrix))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", b"one two"),
        ("a.txt", b"\xff\xfe"),
        ("a.json", b"{}"),
        ("a.json", b"[" * 50000),
        ("a.npy", b"\x93NUMPY\x01\x00F\x00{'descr': '<f8', 'fortran_order': False, 'shape': (9000, 9000, 900)}    "),
        ("a.npy", b""),
        ("a.txt", b"1 " * 40000),
    ],
)
def test_other_files_are_rejected(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(HandPoseError, match=name):
        read_extrinsics(tmp_path / name)
