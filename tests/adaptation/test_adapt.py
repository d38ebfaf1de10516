"""A teacher's labels, and measures that need no labels."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from handpose.adaptation.adapt import adapt, is_better
from handpose.adaptation.gains import VIEWS, unlabeled_measures
from handpose.adaptation.outcome import Measure, Tuned, write_tuned_card
from handpose.adaptation.teacher import UnlabeledFrames, label_frames
from handpose.datasets.records import open_records
from handpose.errors import HandPoseError
from handpose.geometry.camera import CAMERAS
from handpose.geometry.crop import HandCrop
from handpose.geometry.layouts import MSRA21
from handpose.results.pose import HandPose
from handpose.weights.resolve import find_weights
from tests.helpers.datasets import joints, picture, png16

CAMERA = CAMERAS["msra"]


@dataclass
class Teacher:
    """Predicts the planted poses in order, with planted expected errors; an error above 20 mm is uncertain."""

    poses: list[np.ndarray]
    errors: list[float]
    name: str = "teacher"

    def predict(self, depth: np.ndarray, **_: object) -> HandPose:
        xyz, error = self.poses.pop(0), self.errors.pop(0)
        nothing = np.zeros((21, 3))
        status = "ok" if error <= 20 else "low_confidence"
        return HandPose(
            xyz, CAMERA.project(xyz), nothing, np.full(21, error), MSRA21, status, "right", xyz.mean(0), 180.0, CAMERA
        )  # type: ignore[arg-type]


def test_only_certain_poses_are_labels_and_sequences_are_smoothed(tmp_path: Path) -> None:
    """Frames 0 to 4 are a sequence with a jump at 3, frame 2 is uncertain, and frame 5 has the largest error."""
    xyz = joints(21, 0)
    jitter = [0.0, 4.0, 0.0, 200.0, 200.0, 200.0]
    poses = [xyz + np.array([offset, 0.0, 0.0]) for offset in jitter]
    files = []
    for i in range(6):
        files.append(tmp_path / f"frames/{i}.png")
        png16(files[-1], picture("msra", xyz))
    (tmp_path / "frames/6.png").write_bytes(b"no image")
    frames = UnlabeledFrames([*files, tmp_path / "frames/6.png"], CAMERA, hand="right")
    teacher = Teacher(poses, [5.0, 5.0, 19.0, 5.0, 5.0, 30.0])
    with pytest.warns(UserWarning, match=r"6\.png"):
        assert label_frames(frames, teacher, tmp_path / "labels.jsonl") == 4  # type: ignore[arg-type]
    with pytest.warns(UserWarning, match="labels are predictions of teacher"):
        dataset = open_records(tmp_path / "labels.jsonl", "train")
    assert [Path(file).name for file in dataset.files] == ["0.png", "1.png", "3.png", "4.png"]
    assert set(dataset.cubes) == {180.0}  # those of the teacher
    offsets = (dataset.xyz - xyz)[:, :, 0]
    # A line through the first three frames, weighted by the errors; the other two are not enough for smoothing.
    line = np.polynomial.Polynomial.fit([0, 1, 2], [0.0, 4.0, 0.0], 1, w=[1 / 5, 1 / 5, 1 / 19])
    assert np.allclose(offsets, np.array([line(0), line(1), 200.0, 200.0])[:, None], atol=0.01)
    with pytest.raises(HandPoseError, match="all 1 poses are uncertain"):
        label_frames(UnlabeledFrames(files[:1], CAMERA, hand="right"), Teacher([xyz], [99.0]), tmp_path / "x.jsonl")  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore::handpose.SkippedFrameWarning")
def test_frames_that_cannot_be_read_are_not_called_uncertain(tmp_path: Path) -> None:
    (tmp_path / "session.mcap").write_bytes(b"recording")
    frames = UnlabeledFrames([tmp_path / "session.mcap"], CAMERA, hand="right")
    with pytest.raises(HandPoseError, match=r"none of the 1 frames .*: .*\.mcap is not a depth format"):
        label_frames(frames, Teacher([], []), tmp_path / "x.jsonl")  # type: ignore[arg-type]


class SideTeacher(Teacher):
    """A teacher whose predicted side has planted log-odds for a right hand, per folder, and that records the side."""

    def __init__(self, xyz: np.ndarray, log_odds: dict[float, float]) -> None:
        super().__init__([xyz], [5.0])
        self.log_odds, self.asked = log_odds, []

    def for_new_job(self) -> SideTeacher:
        return self

    def predict(self, depth: np.ndarray, *, hand: str, **_: object) -> HandPose:
        pose = super().predict(depth)
        self.poses, self.errors = [pose.xyz], [5.0]
        value = self.log_odds[float(depth[0, 0])]
        self.asked.append(hand)
        side = hand if hand != "auto" else "right" if value > 0 else "left"
        return replace(pose, hand=side, side_log_odds=abs(value) if hand == "auto" else np.nan)


def test_the_side_is_that_of_a_folder(tmp_path: Path) -> None:
    """One frame in four looks like the other hand, and the network is very sure."""
    files, xyz = [], joints(21, 0)
    for folder, values in (("a", (1, 2, 1, 1)), ("b", (2, 2, 1, 2))):
        for i, value in enumerate(values):
            files.append(tmp_path / folder / f"{i}.png")
            png16(files[-1], np.full((240, 320), float(value), np.float32))
    teacher = SideTeacher(xyz, {1.0: 5.0, 2.0: -40.0})
    label_frames(UnlabeledFrames(files, CAMERA), teacher, tmp_path / "labels.jsonl")  # type: ignore[arg-type]
    lines = [json.loads(line) for line in (tmp_path / "labels.jsonl").read_text().splitlines()]
    assert [line["hand"] for line in lines] == ["right"] * 4 + ["left"] * 4
    assert teacher.asked == ["auto"] * 8 + ["right"] * 4 + ["left"] * 4
    unclear = SideTeacher(xyz, {1.0: 5.0, 2.0: -3.0})
    frames = UnlabeledFrames([files[0], files[1]], CAMERA)
    with pytest.raises(HandPoseError, match=r"a: it is unclear whether the frames show right or left hands"):
        label_frames(frames, unclear, tmp_path / "labels.jsonl")  # type: ignore[arg-type]


class Predictor:
    """Predicts the true joints, seen from each crop, plus an offset that stays the same in the crop."""

    def __init__(self, truth: list[np.ndarray], offset: float, wobble: float) -> None:
        self.truth, self.offset, self.wobble, self.calls = truth, offset, wobble, 0

    def predict_crops(self, crops: list[HandCrop]) -> np.ndarray:
        xyz, sign = self.truth[self.calls], (-1) ** self.calls
        self.calls += 1
        center = xyz.mean(axis=0)
        moved = np.stack([move.points(xyz, center) for move in VIEWS])
        return moved + np.array([self.offset, 0.0, self.wobble * sign])


def test_measures_without_labels(tmp_path: Path) -> None:
    """An exact predictor has no disagreement and no jitter; offsets in the crop and a wobble of 1 mm are found."""
    truth = [joints(21, 0) + np.array([1.5 * i, 0.0, 0.0]) for i in range(5)]
    for i, xyz in enumerate(truth):
        png16(tmp_path / f"{i}.png", picture("msra", xyz))
    teacher = Teacher([*truth], [5.0] * 5)
    frames = UnlabeledFrames([tmp_path / f"{i}.png" for i in range(5)], CAMERA, hand="right")
    label_frames(frames, teacher, tmp_path / "x.jsonl")  # type: ignore[arg-type]
    with pytest.warns(UserWarning, match="labels are predictions of teacher"):
        dataset = open_records(tmp_path / "x.jsonl", "train")
    exact, shifted = Predictor(truth, 0.0, 0.0), Predictor(truth, 3.0, 1.0)
    views, bones, jitter = unlabeled_measures(exact, shifted, dataset)  # type: ignore[arg-type]
    assert (views.before, jitter.before, bones.before) == pytest.approx(
        (0.0, 0.0, 0.0), abs=0.01
    )  # records are rounded
    # Offsets of 3 mm in the directions of four quarter turns cancel in the mean, up to the scales and the tilt.
    assert views.after == pytest.approx(3.0, abs=0.3)
    assert jitter.after == pytest.approx(2.0, abs=1e-6)


def test_what_is_kept() -> None:
    def measures(*pairs: tuple[float, float]) -> tuple[Measure, ...]:
        return tuple(Measure("x", *pair) for pair in pairs)

    assert is_better(measures((5.0, 4.0), (3.0, 3.1), (12.0, 12.2)))
    assert not is_better(measures((5.0, 4.95), (3.0, 3.0), (12.0, 12.0)))  # no gain
    assert not is_better(measures((5.0, 4.0), (3.0, 3.2), (12.0, 12.0)))  # another measure is worse
    assert not is_better(measures((5.0, 4.0), (3.0, 3.0), (12.0, 12.4)))  # forgotten


def test_the_card_states_the_result(tmp_path: Path) -> None:
    result = Tuned(40, 10, tmp_path / "run/model", (Measure("mean error in mm", 12.0, 9.0),))
    (tmp_path / "run/model").mkdir(parents=True)
    write_tuned_card(tmp_path / "run/model", find_weights("msra"), result, "fine-tuned on 40 labeled frames")
    text = (tmp_path / "run/model/README.md").read_text()
    assert "These weights are `msra`, fine-tuned on 40 labeled frames." in text
    assert "| mean error in mm | 12.00 | 9.00 |" in text
    assert result.lines()[1] == "mean error in mm: 12.00 before, 9.00 after (-25%)"


def test_arguments_of_a_wrong_type_are_one_line(tmp_path: Path) -> None:
    assert UnlabeledFrames(["a/b.png"], CAMERA).files == [Path("a/b.png")]  # type: ignore[list-item]
    with pytest.raises(HandPoseError, match="hand must be right, left or auto, got 'Right'"):
        UnlabeledFrames([], CAMERA, hand="Right")  # type: ignore[arg-type]
    with pytest.raises(HandPoseError, match=r"start must be weights as `handpose\.find_weights` .*'msra'"):
        adapt(tmp_path, UnlabeledFrames([], CAMERA), "msra")  # type: ignore[arg-type]
