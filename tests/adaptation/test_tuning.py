"""Training that starts from weights and keeps only what is better."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from handpose.adaptation import adapt as adaptation
from handpose.adaptation import finetune as finetuning
from handpose.adaptation.claim import claim, claimed, digest
from handpose.adaptation.task import TuningTask
from handpose.adaptation.teacher import UnlabeledFrames
from handpose.adaptation.tuning import tune
from handpose.datasets.dataset import HandDataset
from handpose.datasets.records import open_records
from handpose.errors import HandPoseError
from handpose.geometry.camera import CAMERAS
from handpose.network.model import JGRP2O
from handpose.training.config import TrainingConfig
from handpose.weights.folder import read_folder
from handpose.weights.resolve import find_weights
from tests.helpers.datasets import joints, png16
from tests.helpers.training import SMALL, Balls, ignore


def tuning(steps: int, *, validation: Balls | None = None, forgets: bool = False, every: int = 10) -> TuningTask:
    """A task on balls. Its synthetic crops may agree exactly with the network at the start."""
    config = TrainingConfig(
        steps, batch=8, optimizer="adam", learning_rate=0.01, average=0.0, validate_every=every, precision="float32"
    )
    torch.manual_seed(0)
    start = JGRP2O(SMALL).eval()
    patches, truth = Balls(3).batch(16)
    if forgets:
        with torch.no_grad():
            truth = start(patches)[0]
    held_out = (validation or Balls(2)).batch(32)
    return TuningTask(SMALL, config, Balls(1), held_out, start=start.state_dict(), synthetic=(patches, truth))


class Shifted(Balls):
    """Crops whose labels contradict those of the training crops: the more a network learns, the worse it becomes."""

    def batch(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        patches, _ = super().batch(count)
        torch.manual_seed(0)
        with torch.no_grad():
            return patches, JGRP2O(SMALL).eval()(patches)[0]


class Planted(TuningTask):
    """A task whose validation error depends only on how far the weights have moved, on any machine."""

    def moved(self, network: JGRP2O) -> float:
        assert self.start is not None
        return sum(float((value.detach() - self.start[name]).abs().sum()) for name, value in network.named_parameters())


class Away(Planted):
    """The error decreases as the weights move away from those at the start."""

    def validate(self, network: JGRP2O) -> dict[str, float]:
        return {"mean_mm": 100.0 / (1.0 + self.moved(network)), "synthetic_mm": 10.0}


class Near(Planted):
    """Any weights but those at the start are better by about half, and the nearer the better."""

    def validate(self, network: JGRP2O) -> dict[str, float]:
        moved = self.moved(network)
        return {"mean_mm": 50.0 + 2.0 * moved / (1.0 + moved) if moved else 100.0, "synthetic_mm": 10.0}


def planted(kind: type[Planted], steps: int, every: int) -> Planted:
    own = tuning(steps, every=every)
    return kind(*(getattr(own, field.name) for field in dataclasses.fields(own)))


def tensors_of(run: Path) -> bytes:
    return (run / "blend/model.safetensors").read_bytes()


def test_the_best_weights_are_kept(tmp_path: Path) -> None:
    rows: list[dict[str, float]] = []
    best = tune(tmp_path, tuning(60), rows.append)
    assert best is not None
    assert best.before == rows[0]
    assert best.after["mean_mm"] <= min(row["mean_mm"] for row in rows) + 0.05
    assert best.after["mean_mm"] < 0.8 * best.before["mean_mm"]
    task = tuning(60)
    measured = task.validate(best.weights.load())
    assert measured["mean_mm"] == pytest.approx(best.after["mean_mm"], abs=0.05)  # weights are stored as float16


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Sums of several threads may round differently from run to run."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("stage", [1, 3])
def test_a_run_that_is_killed_returns_the_same_weights(tmp_path: Path, stage: int) -> None:
    """It is killed after a checkpoint was saved, before its weights were kept."""

    class Killed(BaseException):
        pass

    seen: list[dict[str, float]] = []

    def kill(row: dict[str, float]) -> None:
        seen.append(row)
        if len(seen) == stage + 1:
            raise Killed

    task = planted(Away, 12, 3)
    expected = tune(tmp_path / "uninterrupted", task, ignore)
    with pytest.raises(Killed):
        tune(tmp_path / "killed", task, kill)
    resumed = tune(tmp_path / "killed", task, ignore)
    again = tune(tmp_path / "killed", task, ignore)
    assert expected is not None
    assert resumed is not None
    assert again is not None
    for result in (resumed, again):
        assert result.before == expected.before
        assert {k: v for k, v in result.after.items() if k != "minutes"} == pytest.approx(
            {k: v for k, v in expected.after.items() if k != "minutes"}
        )
    assert tensors_of(tmp_path / "killed") == tensors_of(tmp_path / "uninterrupted")


def test_without_an_improvement_training_stops_and_nothing_is_kept(tmp_path: Path) -> None:
    rows: list[dict[str, float]] = []
    assert tune(tmp_path, tuning(100, validation=Shifted(2), every=2), rows.append) is None
    assert [row["step"] for row in rows] == [0, 2, 4, 6, 8]
    assert not (tmp_path / "best").exists()
    rows.clear()
    assert tune(tmp_path, tuning(100, validation=Shifted(2), every=2), rows.append) is None
    assert [row["step"] for row in rows] == [0]


def test_weights_that_forget_are_mixed_with_those_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful() -> TuningTask:
        own = tuning(40, forgets=True)
        return dataclasses.replace(own, config=dataclasses.replace(own.config, frozen_statistics=True))

    rows: list[dict[str, float]] = []
    assert tune(tmp_path, forgetful(), rows.append) is None
    assert rows[-1]["mean_mm"] < rows[0]["mean_mm"]
    assert rows[-1]["synthetic_mm"] > rows[0]["synthetic_mm"] + 0.3

    monkeypatch.setattr("handpose.adaptation.tuning._MAX_IN_MIXTURE_MM", 0.7 * rows[-1]["synthetic_mm"])
    best = tune(tmp_path, forgetful(), ignore)
    assert best is not None
    assert best.after["synthetic_mm"] <= 0.7 * rows[-1]["synthetic_mm"] + 1e-3
    assert best.after["mean_mm"] < best.before["mean_mm"]


def test_a_tolerance_prefers_weights_that_have_changed_more(tmp_path: Path) -> None:
    task = planted(Near, 4, 4)
    shares = []
    for tolerance in (0.0, 0.05):
        best = tune(tmp_path, task, ignore, tolerance=tolerance)
        assert best is not None
        shares.append(task.moved(best.weights.load()) / task.moved(read_folder(tmp_path / "best", "best").load()))
    assert shares == pytest.approx([0.1, 1.0], rel=0.05)  # weights are stored as float16


def test_a_run_is_not_resumed_with_other_frames(tmp_path: Path) -> None:
    for _ in range(2):
        claim(tmp_path / "run", {"frames": 3, "labels": digest("a", b"b")})
    with pytest.raises(HandPoseError, match=r"with frames 3.*, not frames 4"):
        claim(tmp_path / "run", {"frames": 4, "labels": digest("ab", b"")})
    assert digest("a", b"b") != digest("ab", b"")


class Started(Exception):  # noqa: N818 - it is no error
    """A training would start now."""


def start_training(*_: object, **__: object) -> AbstractContextManager[TuningTask]:
    raise Started


@pytest.mark.parametrize(
    "change",
    [
        {"camera": dataclasses.replace(CAMERAS["msra"], fx=300.0).to_dict()},
        {"hand": "left"},
        {"unit": 0.125},
        {"center_mm": [0.0, 0.0, 410.0]},
        {"cube_mm": 200.0},
        {"sequence": "other"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_run_is_not_resumed_with_corrected_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    """The labels in pixels remain the same, but what they mean, or how the images are read, does not."""
    monkeypatch.setattr(finetuning, "tuning_task", start_training)
    records = []
    for i in range(3):
        png16(tmp_path / f"{i}.png", np.full((240, 320), 400.0))
        uvz = CAMERAS["msra"].project(joints(21, i)).tolist()
        record = {"source": f"{i}.png", "layout": "msra", "camera": CAMERAS["msra"].to_dict(), "uvz": uvz}
        records.append(record | {"center_mm": [0.0, 0.0, 400.0]})
    file = tmp_path / "labels.jsonl"

    def run() -> None:
        file.write_text("".join(json.dumps(record) + "\n" for record in records))
        finetuning.finetune(tmp_path / "run", open_records(file, "train"), find_weights("msra"))

    for _ in range(2):
        with pytest.raises(Started), pytest.warns(UserWarning, match="usable frames"):
            run()
    records = [record | change for record in records]
    with pytest.raises(HandPoseError, match=r"contains a training run with .*records"):
        run()


@pytest.mark.parametrize(("name", "message"), [("", "is a file; expected a folder"), ("run", "cannot be written")])
def test_a_file_is_not_the_folder_of_a_run(tmp_path: Path, name: str, message: str) -> None:
    """People pass the file of records where the folder of the run is expected."""
    file = tmp_path / "labels.jsonl"
    file.touch()
    with pytest.raises(HandPoseError, match=message), claimed(file / name, {}):
        pass


def test_a_run_that_another_process_continues_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "0.png").touch()
    frames = UnlabeledFrames([tmp_path / "0.png"], CAMERAS["msra"])
    with claimed(tmp_path / "run", {}), pytest.raises(HandPoseError, match="another process is writing"):
        adaptation.adapt(tmp_path / "run", frames, find_weights("msra"))


@pytest.mark.parametrize(
    ("given", "used"),
    [((None, None, None), {175.0}), ((220.0, 220.0, 220.0), {220.0}), ((220.0, None, None), {220.0, 175.0})],
)
def test_records_without_cubes_are_trained_on_in_those_of_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: tuple[float | None, ...], used: set[float]
) -> None:
    """The model crops such cubes after the training, too."""
    trained: list[HandDataset] = []

    def start(*arguments: Any, **_: object) -> None:
        trained.extend(arguments[2:4])
        raise Started

    monkeypatch.setattr(finetuning, "tuning_task", start)
    records = []
    for i in range(3):
        png16(tmp_path / f"{i}.png", np.full((240, 320), 400.0))
        camera = CAMERAS["msra"].to_dict()
        records.append(
            {"source": f"{i}.png", "layout": "msra", "camera": camera, "xyz_mm": joints(21, i).tolist()}
            | ({} if given[i] is None else {"cube_mm": given[i]})
        )
    file = tmp_path / "labels.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    weights = find_weights("msra")
    weights = dataclasses.replace(weights, config=dataclasses.replace(weights.config, cube=175.0))
    with pytest.raises(Started), pytest.warns(UserWarning, match="usable frames"):
        finetuning.finetune(tmp_path / "run", open_records(file, "train"), weights)
    assert {side for dataset in trained for side in (*dataset.cubes, *dataset.train_cubes)} == used


def test_a_run_is_not_resumed_with_new_images_of_the_same_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adaptation, "label_frames", start_training)
    file = tmp_path / "0.png"

    def run(depth: float) -> None:
        png16(file, np.full((240, 320), depth))
        adaptation.adapt(tmp_path / "run", UnlabeledFrames([file], CAMERAS["msra"]), find_weights("msra"))

    for _ in range(2):
        with pytest.raises(Started):
            run(400.0)
    with pytest.raises(HandPoseError, match="contains a training run with other content of images"):
        run(500.0)
