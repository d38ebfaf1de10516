from __future__ import annotations

import csv
import dataclasses
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from handpose.errors import HandPoseError
from handpose.evaluation.metrics import Evaluation
from handpose.network.config import JGRP2OConfig
from handpose.network.distances import joint_errors
from handpose.network.losses import pose_loss, regularisation
from handpose.network.model import JGRP2O
from handpose.training.checkpoint import adam_moments
from handpose.training.config import TrainingConfig, paper_recipe
from handpose.training.trainer import Trainer, write_model
from handpose.training.transfer import adapt_joints
from handpose.weights.resolve import find_weights
from tests.helpers.faults_jobs import kill_at_renames
from tests.helpers.paths import ROOT
from tests.helpers.training import MODEL, Balls, validate


def trainer(folder: Path, steps: int) -> Trainer:
    config = TrainingConfig(steps, batch=16, learning_rate=3e-3, average=0.9, validate_every=20)
    return Trainer(folder, MODEL, config, Balls(1), "cpu")


def test_training_learns(tmp_path: Path) -> None:
    rows: list[dict[str, float]] = []
    trainer(tmp_path, 120).run(validate, rows.append)
    assert rows[-1]["step"] == 120
    assert rows[-1]["mm"] < min(30.0, 0.7 * rows[0]["mm"])


def test_a_stopped_run_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole = trainer(tmp_path / "whole", 40)
    whole.run(validate, lambda row: None)
    stopped = trainer(tmp_path / "parts", 40)
    stopped.run(validate, lambda row: None, max_minutes=0.0)
    assert stopped.steps == 1
    again = trainer(tmp_path / "parts", 40)
    assert again.steps == 1
    again.run(validate, lambda row: None)
    assert {file.name for file in (tmp_path / "parts").iterdir()} == {"checkpoint.safetensors", "log.csv"}
    assert_same(again, whole)
    with pytest.raises(HandPoseError, match="holds a training with layout 'nyu', asked for layout 'icvl'"):
        Trainer(tmp_path / "parts", JGRP2OConfig("icvl", features=16), TrainingConfig(1), Balls(1), "cpu")


def assert_same(one: Trainer, other: Trainer) -> None:
    """Bit for bit the same weights, averages and moments."""
    for name in ("model", "averaged"):
        mine, theirs = (getattr(each, name).state_dict() for each in (one, other))
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[key], theirs[key]) for key in mine), name
    mine, theirs = (adam_moments(each.model, each.optimiser) for each in (one, other))
    assert all(torch.equal(mine[key], theirs[key]) for key in mine)


def rows_of(folder: Path) -> list[dict[str, str]]:
    """The log but for the time that steps took."""
    with (folder / "log.csv").open(newline="") as file:
        return [{name: value for name, value in row.items() if name != "minutes"} for row in csv.DictReader(file)]


def test_a_run_killed_at_any_rename_goes_on_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainingConfig(6, batch=4, learning_rate=3e-3, average=0.9, validate_every=2)

    def run(folder: Path) -> Trainer:
        trainer = Trainer(folder, JGRP2OConfig("nyu", features=8), config, Balls(1), "cpu")
        trainer.run(validate, lambda row: None)
        return trainer

    whole = run(tmp_path / "whole")
    kill_at_renames(monkeypatch, lambda k: run(tmp_path / f"killed{k}"))
    monkeypatch.undo()
    folders = sorted(tmp_path.glob("killed*"))
    assert len(folders) >= 6
    for folder in folders:
        assert_same(run(folder), whole)
        assert rows_of(folder) == rows_of(tmp_path / "whole")
        assert_same(run(folder), whole)  # and the checkpoint is the finished training's


def test_a_torn_log_does_not_stop_a_run(tmp_path: Path) -> None:
    trainer(tmp_path / "whole", 40).run(validate, lambda row: None)
    trainer(tmp_path / "torn", 40).run(validate, lambda row: None, max_minutes=0.0)
    with (tmp_path / "torn" / "log.csv").open("a") as file:
        file.write("20,3")
    trainer(tmp_path / "torn", 40).run(validate, lambda row: None)
    assert [row["step"] for row in rows_of(tmp_path / "torn")] == ["1", "20", "40"]


def test_a_damaged_checkpoint_is_one_line(tmp_path: Path) -> None:
    trainer(tmp_path, 1).run(validate, lambda row: None)
    file = tmp_path / "checkpoint.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(HandPoseError, match=r"checkpoint.safetensors: is damaged \(.*\); delete it") as error:
        trainer(tmp_path, 1)
    assert "\n" not in str(error.value)


def test_other_settings_are_refused(tmp_path: Path) -> None:
    config = TrainingConfig(4, batch=4, validate_every=2, precision="float32")
    Trainer(tmp_path, MODEL, config, Balls(1), "cpu").run(validate, lambda row: None, max_minutes=0.0)
    other: dict[str, object] = {
        **{"steps": 5, "batch": 8, "learning_rate": 1e-3, "schedule": "exponential", "weight_decay": 1e-5},
        **{"offset_weight": 0.5, "clip": math.inf, "precision": "bfloat16", "average": 0.5, "seed": 1},
    }
    without_effect: dict[str, object] = {"validate_every": 3, "epoch": 7}
    assert {*other, *without_effect} == {field.name for field in dataclasses.fields(TrainingConfig)}
    for name, value in other.items():
        old = getattr(config, name)
        with pytest.raises(HandPoseError, match=re.escape(f"{name} {old!r}, asked for {name} {value!r};")):
            Trainer(tmp_path, MODEL, dataclasses.replace(config, **{name: value}), Balls(1), "cpu")
    with pytest.raises(HandPoseError, match="batch 4, seed 0, asked for batch 8, seed 1; choose another folder or"):
        Trainer(tmp_path, MODEL, dataclasses.replace(config, batch=8, seed=1), Balls(1), "cpu")
    assert Trainer(tmp_path, MODEL, dataclasses.replace(config, **without_effect), Balls(1), "cpu").steps == 1


def test_an_exponential_schedule_may_be_made_longer(tmp_path: Path) -> None:
    def run(folder: Path, steps: int) -> Trainer:
        config = TrainingConfig(steps, batch=4, schedule="exponential", epoch=2, average=0.0)
        trainer = Trainer(folder, MODEL, config, Balls(1), "cpu")
        trainer.run(validate, lambda row: None)
        return trainer

    run(tmp_path / "parts", 2)
    assert_same(run(tmp_path / "parts", 4), run(tmp_path / "whole", 4))


def test_the_paper_s_recipe_is_the_paper_s() -> None:
    """One step in float64 is Adam's on the paper's loss with its L2 term, written out."""
    config = paper_recipe("nyu", 72_757)
    assert (config.steps, config.batch) == (58 * (72_757 // 32), 32)
    assert config.rate(0) == config.rate(config.epoch - 1) == 1e-4
    assert config.rate(3 * config.epoch) == pytest.approx(1e-4 * 0.96**3)
    torch.set_default_dtype(torch.float64)
    try:
        source = Balls(1)
        source.batch = lambda count: tuple(t.double() for t in Balls.batch(source, count))  # type: ignore[method-assign]
        trainer = Trainer("unused", MODEL, config, source, "cpu")
        model = JGRP2O(MODEL).train()
        model.load_state_dict(trainer.model.state_dict())
        trainer._seed(0)
        patches, uvz = source.batch(32)
        (pose_loss(model.stack_outputs(patches), uvz, patches) + regularisation(model)).backward()
        trainer._step()
        for ours, theirs in zip(trainer.model.parameters(), model.parameters(), strict=True):
            gradient = theirs.grad
            moved = theirs.detach() - 1e-4 * gradient / (gradient.abs() + 1e-8)  # Adam's first step
            clear = gradient.abs() > 1e-6  # below, rounding decides
            assert torch.allclose(ours.detach()[clear], moved[clear], atol=2e-7)
    finally:
        torch.set_default_dtype(torch.float32)


def test_weights_of_another_layout_start_a_training() -> None:
    torch.manual_seed(0)
    old = JGRP2O(JGRP2OConfig("msra", features=16)).eval()
    rows = torch.arange(21).roll(3)[:14]
    new = JGRP2O(MODEL).eval()
    new.load_state_dict(adapt_joints(old.state_dict(), rows))
    patches, _ = Balls(3).batch(4)
    with torch.no_grad():
        before, after = old.stack_outputs(patches)[0].uvz[:, rows], new.stack_outputs(patches)[0].uvz
    assert torch.allclose(before, after, atol=1e-2)  # but for the graph, which is the new layout's
    same = adapt_joints(old.state_dict(), torch.arange(21))
    assert all(torch.equal(same[name], tensor) for name, tensor in old.state_dict().items())


TOGETHER = """
import os, signal, sys, torch
sys.path.insert(0, {root!r})
from tests.helpers.training import Balls, Halves, MODEL, validate
from handpose.training.trainer import Trainer
from handpose.training.config import TrainingConfig
from handpose.training.distributed import process_group
steps, folder, what = int(sys.argv[1]), sys.argv[2], sys.argv[3]
torch.set_default_dtype(torch.float64)  # Adam's first steps make much of the sign of a rounding error
def main(device):  # a function, since what uses a process group must be gone before the group is
    schedule = "exponential" if what == "own" else "cosine"  # which may be made longer
    config = TrainingConfig(
        steps, batch=16, learning_rate=3e-3, schedule=schedule, epoch=1000, validate_every=5, precision="float32"
    )
    trainer = Trainer(folder, MODEL, config, Balls(0), device)
    if what != "own":
        trainer.source = Halves(trainer.rank, trainer.processes, what == "same")
        trainer._seed = lambda step: trainer.source.generator.manual_seed(step)  # the same for all
    begun, crops = trainer.steps, []
    draw = trainer.source.batch
    trainer.source.batch = lambda count: crops.append(draw(count)) or crops[-1]
    def die(step):
        if what == "die" and begun == 0 and trainer.rank == 1 and step == 7:
            os.kill(os.getpid(), signal.SIGKILL)
    trainer.run(validate, lambda row: None, on_step=die)
    if trainer.processes > 1:
        flat = torch.cat([parameter.detach().flatten() for parameter in trainer.model.parameters()])
        both = [torch.empty_like(flat), torch.empty_like(flat)]
        torch.distributed.all_gather(both, flat)
        first = [torch.empty_like(crops[0][1]) for _ in both]
        torch.distributed.all_gather(first, crops[0][1])
        if trainer.rank == 0:
            print(begun, trainer.steps, len(crops[0][0]), torch.equal(*both), torch.equal(*first))
with process_group("cpu") as device:
    main(device)
"""


def together(tmp_path: Path, processes: int, steps: int, what: str = "own") -> list[str]:
    """Trains in so many processes, in a folder for each kind, and returns what the first one prints."""
    script = tmp_path / "together.py"
    script.write_text(TOGETHER.format(root=str(ROOT)))
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    done = subprocess.run(
        [sys.executable, *(launch if processes > 1 else []), script, str(steps), tmp_path / f"{what}{processes}", what],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def losses(folder: Path) -> np.ndarray:
    """The loss at every checkpoint of a training."""
    with (folder / "log.csv").open(newline="") as file:
        return np.array([float(row["loss"]) for row in csv.DictReader(file)])


@pytest.mark.slow
def test_processes_train_one_model_on_different_crops_and_go_on(tmp_path: Path) -> None:
    assert together(tmp_path, 2, 5) == ["0", "5", "8", "True", "False"]
    assert together(tmp_path, 2, 8) == ["5", "8", "8", "True", "False"]


@pytest.mark.slow
@pytest.mark.parametrize(("what", "tolerance"), [("same", 1e-6), ("parts", 0.15)])
def test_two_processes_have_the_loss_curve_of_one_with_the_whole_batch(
    tmp_path: Path, what: str, tolerance: float
) -> None:
    """To rounding where both halves have the same BatchNorm statistics, and nearly where they have not."""
    for processes in (1, 2):
        together(tmp_path, processes, 20, what)
    one, two = (losses(tmp_path / f"{what}{processes}") for processes in (1, 2))
    assert len(one) == 4
    assert one[-1] < 0.7 * one[0]
    assert two == pytest.approx(one, rel=tolerance)


@pytest.mark.slow
def test_training_goes_on_when_a_process_is_killed(tmp_path: Path) -> None:
    """Started again, all continue from the checkpoint at step 5."""
    with pytest.raises(AssertionError, match="exitcode: -9"):
        together(tmp_path, 2, 10, "die")
    assert together(tmp_path, 2, 10, "die") == ["5", "10", "8", "True", "False"]
    assert len(losses(tmp_path / "die2")) == 2


def test_synchronised_batchnorm_asks_for_gpus() -> None:
    with pytest.raises(HandPoseError, match="needs GPUs, got device cpu"):
        Trainer("unused", MODEL, TrainingConfig(1), Balls(1), "cpu", sync_batchnorm=True)


def test_a_model_folder_is_written_from_a_run(tmp_path: Path) -> None:
    trainer(tmp_path / "run", 3).run(validate, lambda row: None)
    write_model(tmp_path / "run", tmp_path / "model")
    model = find_weights(tmp_path / "model").load()
    assert model.config == MODEL
    with pytest.raises(HandPoseError, match="no checkpoint here"):
        write_model(tmp_path, tmp_path / "other")


@pytest.mark.parametrize("uv_scale", [95.0, 96.0, 90.0])
@pytest.mark.parametrize("cube", [250.0, 300.0])
def test_joint_errors_are_millimetres(uv_scale: float, cube: float) -> None:
    config = JGRP2OConfig("nyu", cube=cube, uv_scale=uv_scale)
    truth = torch.full((1, 1, 3), 0.5)
    # One patch pixel is 1 / uv_scale of u, and the cube's side / 96; half the cube is 1 of z.
    off = torch.tensor([[[3 / uv_scale, 4 / uv_scale, 0.0]]])
    assert joint_errors(truth + off, truth, config).item() == pytest.approx(5 * cube / 96, rel=1e-5)
    deeper = truth + torch.tensor([0, 0, 0.2])
    assert joint_errors(deeper, truth, config).item() == pytest.approx(0.1 * cube, rel=1e-5)


def test_an_evaluation_counts_what_was_planted() -> None:
    truth = np.zeros((4, 3, 3))
    predicted = truth.copy()
    predicted[0, :, 0] = 6.0
    predicted[1, :, 1] = [0, 0, 24.0]
    predicted[2, :] = [3.0, 4.0, 0.0]
    predicted[3] = np.nan
    result = Evaluation.of(predicted, truth)
    assert result.mean == pytest.approx((6 * 3 + 24 + 5 * 3) / 9)
    assert result.median == pytest.approx(6.0)
    assert result.success_rate(10.0) == 0.5
    assert result.success_rate(30.0) == 0.75
    assert result.to_dict()["no_hand"] == 1
    with pytest.raises(HandPoseError, match=r"\(4, 3, 3\), got \(4, 3\)"):
        Evaluation.of(predicted[..., 0], truth)
