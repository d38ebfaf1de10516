"""Systematic errors in labels are found and named before a training starts, and in an evaluation."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from handpose.datasets.records import RecordDataset, open_records
from handpose.errors import HandPoseError
from handpose.evaluation.evaluate import evaluate
from handpose.evaluation.label_check import check_labels
from handpose.geometry.camera import Camera
from handpose.geometry.crop import HandCrop
from handpose.geometry.layouts import MSRA21
from handpose.weights.resolve import find_weights
from tests.helpers.datasets import png16
from tests.helpers.scenes import render_balls

pytestmark = pytest.mark.filterwarnings("ignore:.*center_mm:UserWarning")  # of wrong labels, which is another check

CAMERA = Camera(300.0, 300.0, 170.0, 115.0, 320, 240)
FRAMES = 6
# In degrees from the direction of the middle finger, in the order of the layout, which ends with the thumb.
ANGLES = (-20.0, 0.0, 15.0, 30.0, -60.0)


def right_hand(i: int) -> np.ndarray:
    """The joints (21, 3) in mm of an open hand; its bones have the lengths of an average hand."""
    calibration = find_weights("msra").config.calibration
    assert calibration is not None
    turn = 0.35 * i - 0.9
    joints = np.zeros((21, 3))
    for (parent, child), length in zip(MSRA21.bones, calibration.bones_mm, strict=True):
        angle = np.radians(ANGLES[(child - 1) // 4]) + turn
        joints[child] = joints[parent] + length * np.array([np.sin(angle), -np.cos(angle), -0.1])
    return joints - joints.mean(axis=0) + np.array([25.0 + 8 * i, 30.0 - 5 * i, 430.0 + 10 * i])


class Oracle:
    """Predicts the true joints if it is given the right hand, and their mirror image otherwise."""

    layout, config, name = MSRA21, find_weights("msra").config, "msra"

    def __init__(self, truth: dict[bytes, np.ndarray]) -> None:
        self.truth = truth

    def predict(self, depth: np.ndarray, *, camera: Camera, center: np.ndarray, hand: str) -> SimpleNamespace:
        xyz = self.truth[depth.tobytes()] + 4.0
        return SimpleNamespace(xyz=xyz if hand == "right" else (xyz - center) * [-1.0, 1.0, 1.0] + center)

    def predict_crops(self, crops: list[HandCrop]) -> np.ndarray:
        return np.array([crop.center for crop in crops])[:, None] + np.zeros((21, 3))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[np.ndarray], Oracle]:
    """Depth images of hands, their true joints, and an estimator that knows them."""
    folder = tmp_path_factory.mktemp("hands")
    truth, known = [], {}
    for i in range(FRAMES):
        xyz = right_hand(i)
        along = np.linspace(0.0, 1.0, 8)[:, None]
        points = [xyz[parent] * (1 - along) + xyz[child] * along for parent, child in MSRA21.bones]
        depth = render_balls(CAMERA, [(point, 9.0) for point in np.concatenate(points)])
        png16(folder / f"{i}.png", depth)
        truth.append(xyz)
        known[np.rint(depth).astype(np.float32).tobytes()] = xyz
    return folder, truth, Oracle(known)


def labeled(
    scenes: tuple[Path, list[np.ndarray], Oracle], path: Path, label: Callable[[np.ndarray], dict[str, Any]]
) -> RecordDataset:
    folder, truth, _ = scenes
    lines = []
    for i, xyz in enumerate(truth):
        values = {"source": str(folder / f"{i}.png"), "layout": "msra", "camera": CAMERA.to_dict()}
        values |= {"center_mm": xyz.mean(axis=0).tolist(), **label(xyz)}
        lines.append(json.dumps({key: np.asarray(value).tolist() for key, value in values.items()}) + "\n")
    file = path / "labels.jsonl"
    file.write_text("".join(lines))
    return open_records(file, "train")


THUMB_FIRST = [0, 17, 18, 19, 20, *range(1, 17)]


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (lambda xyz: {"xyz_mm": xyz / 1000.0}, "in meters; multiply xyz_mm, or the depths in uvz, by 1000"),
        (lambda xyz: {"xyz_mm": xyz / 10.0}, "in centimeters"),
        (lambda xyz: {"xyz_mm": xyz[:, [1, 0, 2]]}, "x and y seem to be swapped"),
        (lambda xyz: {"uvz": CAMERA.project(xyz)[:, [1, 0, 2]]}, "u and v seem to be swapped"),
        (lambda xyz: {"xyz_mm": xyz * [1, -1, 1]}, "y seems to point up"),
        (lambda xyz: {"xyz_mm": xyz * [-1, 1, 1]}, "x seems to point left"),
        (lambda xyz: {"uvz": CAMERA.project(xyz) * [1, 1, 0.001]}, "in meters"),
        (lambda xyz: {"xyz_mm": CAMERA.project(xyz)}, "pixels and depths; name it uvz"),
        (lambda xyz: {"uvz": xyz}, "x, y, z in mm; name it xyz_mm"),
        (lambda xyz: {"xyz_mm": xyz, "hand": "left"}, "`hand` seems to be wrong"),
        (lambda xyz: {"xyz_mm": xyz[THUMB_FIRST]}, "another order: index_mcp lies at thumb_mcp, index_pip lies at"),
        (lambda xyz: {"xyz_mm": xyz + np.array([0, 0, 300])}, "only 0% of the joints lie on the depth surface"),
    ],
)
def test_mistakes_are_named(
    scenes: tuple[Path, list[np.ndarray], Oracle],
    tmp_path: Path,
    label: Callable[[np.ndarray], dict[str, Any]],
    message: str,
) -> None:
    with pytest.raises(HandPoseError, match=f"the labels are wrong: .*{message}"):
        check_labels(labeled(scenes, tmp_path, label), scenes[2])  # type: ignore[arg-type]


def test_an_evaluation_on_wrong_labels_warns(scenes: tuple[Path, list[np.ndarray], Oracle], tmp_path: Path) -> None:
    dataset = labeled(scenes, tmp_path, lambda xyz: {"xyz_mm": xyz / 1000.0})
    with pytest.warns(UserWarning, match=r"labels.jsonl: the labels are probably wrong, as a note of the report"):
        report = evaluate([scenes[2]], dataset)  # type: ignore[list-item]
    assert report.table().count("they seem to be in meters") == 1


def test_an_evaluation_with_wrong_centers_warns(scenes: tuple[Path, list[np.ndarray], Oracle], tmp_path: Path) -> None:
    """The labels agree with the image, but the crops are elsewhere."""
    dataset = labeled(scenes, tmp_path, lambda xyz: {"xyz_mm": xyz, "center_mm": np.add(xyz.mean(axis=0), (150, 0, 0))})
    with pytest.warns(UserWarning, match=r"msra: a mean error of 1\d\d mm is no better than chance; check the camera"):
        report = evaluate([scenes[2]], dataset)  # type: ignore[list-item]
    assert "no better than chance" in report.table()


def tips_only(xyz: np.ndarray) -> dict[str, Any]:
    tips = np.array([joint.endswith("tip") for joint in MSRA21.joints])
    return {"xyz_mm": np.where(tips[:, None], xyz, np.nan)}


@pytest.mark.parametrize(
    "label",
    [
        lambda xyz: {"xyz_mm": xyz},
        lambda xyz: {"uvz": CAMERA.project(xyz)},
        tips_only,
        lambda xyz: {"uvz": CAMERA.project(xyz) * [1, 1, np.nan]},
    ],
)
def test_correct_labels_pass(
    scenes: tuple[Path, list[np.ndarray], Oracle], tmp_path: Path, label: Callable[[np.ndarray], dict[str, Any]]
) -> None:
    dataset = labeled(scenes, tmp_path, label)
    assert check_labels(dataset, scenes[2]).damaged == {}  # type: ignore[arg-type]


def test_single_wrong_frames_are_left_out(scenes: tuple[Path, list[np.ndarray], Oracle], tmp_path: Path) -> None:
    wrong = scenes[1][2]
    dataset = labeled(scenes, tmp_path, lambda xyz: {"xyz_mm": xyz + np.array([0, 0, 200 * (xyz is wrong)])})
    assert check_labels(dataset, scenes[2]).damaged == {2: "its labels do not lie on the depth surface"}  # type: ignore[arg-type]


def test_unreadable_images_are_left_out(scenes: tuple[Path, list[np.ndarray], Oracle], tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes((scenes[0] / "2.png").read_bytes()[:200])
    dataset = labeled(scenes, tmp_path, lambda xyz: {"xyz_mm": xyz})
    dataset = replace(dataset, files=[str(damaged) if i == 2 else file for i, file in enumerate(dataset.files)])
    (number, reason), *others = check_labels(dataset, scenes[2]).damaged.items()  # type: ignore[arg-type]
    assert (number, others) == (2, [])
    assert "truncated" in reason
