"""Training runs: what they learn, and that they resume exactly."""

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
from handpose.network.losses import pose_loss, regularization
from handpose.network.model import JGRP2O
from handpose.training.checkpoint import load_part, load_state
from handpose.training.config import Optimizer, TrainingConfig, paper_recipe
from handpose.training.muon import hidden_kernels, orthogonalize
from handpose.training.pose_task import write_model
from handpose.training.trainer import train
from handpose.training.transfer import adapt_joints
from handpose.weights.folder import write_config
from handpose.weights.resolve import find_weights
from tests.helpers.faults_jobs import kill_at_renames
from tests.helpers.paths import ROOT
from tests.helpers.training import MODEL, SMALL, Balls, assert_same, ignore, task

OPTIMIZERS = ("muon", "adam")


def config(steps: int, optimizer: Optimizer = "muon") -> TrainingConfig:
    rate = {"muon": None, "adam": 0.02}[optimizer]
    return TrainingConfig(steps, batch=8, optimizer=optimizer, learning_rate=rate, average=0.9, validate_every=5)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_learns(tmp_path: Path, optimizer: Optimizer) -> None:
    rows: list[dict[str, float]] = []
    settings = dataclasses.replace(config(80, optimizer), validate_every=20)
    train(tmp_path, task(settings, model=SMALL), rows.append)
    assert rows[-1]["step"] == 80
    assert rows[-1]["mean_mm"] < 0.6 * rows[0]["mean_mm"]  # from 0.16 to 0.46 with four seeds


def steps_of(run: Path) -> int:
    state = load_state(run)
    assert state is not None
    steps: int = state["steps"]
    return steps


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_stopped_run_resumes_exactly(tmp_path: Path, optimizer: Optimizer) -> None:
    uninterrupted, resumed = tmp_path / "uninterrupted", tmp_path / "resumed"
    settings = config(10, optimizer)
    train(uninterrupted, task(settings, model=SMALL), ignore)
    train(resumed, task(settings, model=SMALL), ignore, max_minutes=0.0)
    assert steps_of(resumed) == 1
    train(resumed, task(settings, model=SMALL), ignore)
    assert {file.name for file in resumed.iterdir()} == {"checkpoint.safetensors", "log.csv"}
    assert_same(resumed, uninterrupted)
    with pytest.raises(HandPoseError, match="contains a training run with layout 'nyu', not layout 'icvl'"):
        train(resumed, task(settings, model=JGRP2OConfig("icvl", stacks=1, features=8)), ignore)


def rows_of(run: Path) -> list[dict[str, str]]:
    """Returns the rows of a run's log without the elapsed time."""
    with (run / "log.csv").open(newline="") as file:
        return [{name: value for name, value in row.items() if name != "minutes"} for row in csv.DictReader(file)]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_run_killed_at_any_rename_resumes_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: Optimizer
) -> None:
    settings = TrainingConfig(2, batch=4, optimizer=optimizer, average=0.9, validate_every=1)

    def run(folder: Path) -> None:
        train(folder, task(settings, model=SMALL), ignore)

    run(tmp_path / "uninterrupted")
    kill_at_renames(monkeypatch, lambda k: run(tmp_path / f"killed{k}"))
    monkeypatch.undo()
    folders = sorted(tmp_path.glob("killed*"))
    assert len(folders) == 5  # before and after the rename of each checkpoint, and without a kill
    for folder in folders:
        run(folder)
        assert_same(folder, tmp_path / "uninterrupted")
        assert rows_of(folder) == rows_of(tmp_path / "uninterrupted")
        run(folder)  # the run is complete, so nothing changes
        assert_same(folder, tmp_path / "uninterrupted")


class Diverging(Balls):
    """Crops whose loss is not finite from the fifth batch of the training on."""

    batches = 0

    def batch(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        self.batches += count == 8
        patches, uvz = super().batch(count)
        return patches, uvz * (torch.inf if self.batches > 4 else 1.0)


def test_a_training_that_diverges_is_stopped_and_keeps_its_checkpoint(tmp_path: Path) -> None:
    settings = dataclasses.replace(config(9), validate_every=3)
    with pytest.raises(HandPoseError, match=r"has diverged before step 6: .* with a lower learning rate"):
        train(tmp_path, task(settings, Diverging(0), SMALL), ignore)
    state = load_state(tmp_path)
    assert state is not None
    assert state["steps"] == 3
    assert all(tensor.isfinite().all() for tensor in load_part(tmp_path, "model").values())


def test_settings_that_do_not_exist_are_rejected() -> None:
    for name, value in (("schedule", "cosin"), ("precision", "float16"), ("optimizer", "sgd")):
        with pytest.raises(HandPoseError, match=f"{name} must be .*, got '{value}'"):
            TrainingConfig(1, **{name: value})  # type: ignore[arg-type]


def test_an_incomplete_log_row_is_removed(tmp_path: Path) -> None:
    train(tmp_path, task(config(10), model=SMALL), ignore, max_minutes=0.0)
    (tmp_path / "log.csv").write_text("step,crops,minutes,loss\n5,3")
    train(tmp_path, task(config(10), model=SMALL), ignore)
    assert [row["step"] for row in rows_of(tmp_path)] == ["5", "10"]


def test_a_damaged_checkpoint_is_reported_in_one_line(tmp_path: Path) -> None:
    train(tmp_path, task(config(1), model=SMALL), ignore)
    file = tmp_path / "checkpoint.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(HandPoseError, match=r"checkpoint.safetensors: is damaged \(.*\); delete it") as error:
        train(tmp_path, task(config(1), model=SMALL), ignore)
    assert "\n" not in str(error.value)


def test_other_settings_are_rejected(tmp_path: Path) -> None:
    first = TrainingConfig(4, batch=4, learning_rate=0.01, validate_every=2, precision="float32")

    def resume(settings: TrainingConfig) -> None:
        train(tmp_path, task(settings, model=SMALL), ignore, max_minutes=0.0)

    resume(first)
    other: dict[str, object] = {
        **{"steps": 5, "batch": 8, "optimizer": "adam", "learning_rate": 1e-3, "adam_rate": 1e-4},
        **{"schedule": "exponential", "weight_decay": 1e-5, "offset_weight": 0.5, "clip": math.inf},
        **{"precision": "bfloat16", "average": 0.5, "seed": 1, "frozen_statistics": True},
    }
    without_effect: dict[str, object] = {"validate_every": 3, "epoch": 7}
    assert {*other, *without_effect} == {field.name for field in dataclasses.fields(TrainingConfig)}
    for name, value in other.items():
        old = getattr(first, name)
        with pytest.raises(HandPoseError, match=re.escape(f"{name} {old!r}, not {name} {value!r};")):
            resume(dataclasses.replace(first, **{name: value}))
    with pytest.raises(HandPoseError, match="batch 4, seed 0, not batch 8, seed 1; choose another folder or"):
        resume(dataclasses.replace(first, batch=8, seed=1))
    assert steps_of(tmp_path) == 1
    resume(dataclasses.replace(first, **without_effect))
    assert steps_of(tmp_path) == 2


def test_the_default_learning_rate_depends_on_the_optimizer() -> None:
    assert TrainingConfig(1).peak == 0.02
    assert TrainingConfig(1, optimizer="adam").peak == 1.2e-3
    assert TrainingConfig(1, learning_rate=0.02).settings() == TrainingConfig(1).settings()
    adam = TrainingConfig(1, optimizer="adam")
    assert dataclasses.replace(adam, adam_rate=1.0).settings() == adam.settings()
    with pytest.raises(HandPoseError, match="muon or adam"):
        TrainingConfig(1, optimizer="sgd")  # type: ignore[arg-type]


def test_an_exponential_schedule_can_be_extended(tmp_path: Path) -> None:
    def run(folder: Path, steps: int) -> None:
        settings = TrainingConfig(steps, batch=4, schedule="exponential", epoch=2, average=0.0)
        train(folder, task(settings, model=SMALL), ignore)

    run(tmp_path / "extended", 2)
    run(tmp_path / "extended", 4)
    run(tmp_path / "uninterrupted", 4)
    assert_same(tmp_path / "extended", tmp_path / "uninterrupted")


class OneBatch:
    """The same float64 crops in every step."""

    def __init__(self) -> None:
        self.generator = torch.Generator()
        self.crops = tuple(part.double() for part in Balls(1).batch(32))

    def batch(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        patches, uvz = self.crops
        return patches[:count], uvz[:count]


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def first_step(run: Path, settings: TrainingConfig, *, decayed: bool) -> tuple[JGRP2O, dict[str, torch.Tensor]]:
    """The initial network with the gradients of the paper's loss, and the weights after one step of training."""
    source = OneBatch()
    torch.manual_seed(settings.seed)
    model = JGRP2O(MODEL).train()
    patches, uvz = source.batch(32)
    loss = pose_loss(model.stack_outputs(patches), uvz, patches)
    (loss + regularization(model) if decayed else loss).backward()
    train(run, task(settings, source), ignore, max_minutes=0.0)
    return model, load_part(run, "training")


def assert_adam_moved(before: torch.nn.Parameter, after: torch.Tensor, rate: float) -> None:
    """Asserts that a parameter has moved by Adam's first step."""
    gradient = before.grad
    assert gradient is not None
    moved = before.detach() - rate * gradient / (gradient.abs() + 1e-8)
    clear = gradient.abs() > 1e-6  # below, rounding errors determine the direction
    assert torch.allclose(after[clear], moved[clear], atol=2e-3 * rate)


@pytest.mark.usefixtures("float64")
def test_the_paper_s_recipe_is_adam_with_the_paper_s_settings(tmp_path: Path) -> None:
    """One step in float64 is Adam's step on the paper's loss with its L2 term, written out."""
    recipe = paper_recipe("nyu", 72_757)
    assert (recipe.steps, recipe.batch, recipe.peak) == (math.ceil(58 * 72_757 / 32), 32, 1e-4)
    # The first step that starts with a frame of the fourth pass is 6,821: 3 * 72,757 / 32 = 6820.97.
    assert recipe.scheduled(1e-4, 0) == recipe.scheduled(1e-4, 2273) == 1e-4
    assert recipe.scheduled(1e-4, 6820) == pytest.approx(1e-4 * 0.96**2)
    assert recipe.scheduled(1e-4, 6821) == pytest.approx(1e-4 * 0.96**3)
    assert paper_recipe("icvl", 331_006).steps == math.ceil(8 * 331_006 / 32)
    assert paper_recipe("msra", 1000, batch=8).steps == 58 * 125
    model, after = first_step(tmp_path, recipe, decayed=True)
    for name, parameter in model.named_parameters():
        assert_adam_moved(parameter, after[name], 1e-4)


@pytest.mark.usefixtures("float64")
def test_muon_trains_hidden_kernels_and_adam_all_other_parameters(tmp_path: Path) -> None:
    settings = TrainingConfig(100, schedule="exponential", clip=math.inf, precision="float32", average=0.0)
    model, after = first_step(tmp_path, settings, decayed=False)
    kernels = {id(kernel) for kernel in hidden_kernels(model)}
    for name, parameter in model.named_parameters():
        if id(parameter) not in kernels:
            assert_adam_moved(parameter, after[name], 1.2e-3)
            continue
        assert parameter.grad is not None
        matrix = parameter.grad.flatten(1)
        scale = 0.02 * max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5
        step = (parameter.detach() - after[name]).flatten(1)
        # In bfloat16, small singular values depend on the rounding of the input: up to a tenth was seen.
        assert torch.linalg.matrix_norm(step - scale * orthogonalize(matrix)) < 0.2 * torch.linalg.matrix_norm(step)


def test_statistics_of_averaged_weights_are_those_of_new_crops(tmp_path: Path) -> None:
    own = task(dataclasses.replace(config(2), precision="float32"), model=SMALL)
    train(tmp_path, own, ignore)
    network = own.build()
    network.load_state_dict(load_part(tmp_path, "model"))
    words = np.random.SeedSequence((own.config.seed, 0, 2**32 - 1)).generate_state(2)
    own.generator.manual_seed(int(words[0]) << 31 ^ int(words[1]))
    inputs: list[torch.Tensor] = []
    network.stem.bn.register_forward_pre_hook(lambda _, given: inputs.append(given[0].transpose(0, 1).flatten(1)))
    with torch.no_grad():
        for _ in range(2):
            network.eval()(own.batch(16)[0])
    values = torch.stack(inputs)
    assert torch.allclose(network.stem.bn.running_mean, values.mean(dim=(0, 2)), rtol=1e-4, atol=1e-6)
    assert torch.allclose(network.stem.bn.running_var, values.var(dim=2).mean(dim=0), rtol=1e-3)


def test_frozen_statistics_are_those_of_the_initial_weights(tmp_path: Path) -> None:
    """The loss of the first step is that of the network in inference mode, and the statistics never change."""
    torch.manual_seed(3)
    start = JGRP2O(SMALL)
    start(Balls(4).batch(32)[0])  # in training mode, so that the statistics differ from the default ones
    settings = dataclasses.replace(config(3, "adam"), frozen_statistics=True, precision="float32", validate_every=1)
    own = dataclasses.replace(task(settings, model=SMALL), start=start.state_dict())
    rows: list[dict[str, float]] = []
    train(tmp_path, own, rows.append)
    words = np.random.SeedSequence((settings.seed, 0, 0)).generate_state(2)
    own.generator.manual_seed(int(words[0]) << 31 ^ int(words[1]))
    patches, uvz = own.batch(settings.batch)
    expected = pose_loss(start.eval().stack_outputs(patches), uvz, patches) / settings.batch
    assert rows[0]["loss"] == pytest.approx(float(expected.detach()), rel=1e-4)
    after = load_part(tmp_path, "model")
    names = [name for name in after if name.endswith(("running_mean", "running_var"))]
    assert names
    assert all(torch.equal(after[name], start.state_dict()[name]) for name in names)
    assert not torch.equal(after["stem.conv.weight"], start.state_dict()["stem.conv.weight"])


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
from tests.helpers.training import Balls, Halves, ignore, task
from handpose.training.checkpoint import load_state
from handpose.training.config import TrainingConfig
from handpose.training.distributed import Processes, process_group
from handpose.training.pose_task import PoseTask
from handpose.training.trainer import train
steps, run, kind, optimizer = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
torch.set_default_dtype(torch.float64)  # rounding errors determine the direction of Adam's first steps
networks, crops = [], []
class Recorded(Balls):
    def batch(self, count):
        crops.append(super().batch(count))
        return crops[-1]
def main(device):  # a function, since what uses a process group must be deleted before the group
    from pathlib import Path
    processes = Processes()
    schedule = "exponential" if kind == "own" else "cosine"  # an exponential schedule can be extended
    config = TrainingConfig(
        steps, batch=16, optimizer=optimizer, learning_rate=3e-3 if optimizer == "adam" else None, schedule=schedule,
        epoch=1000, validate_every=5, precision="float32",
    )
    own = kind in ("own", "die")
    each = task(config, Recorded(0) if own else Halves(processes.rank, processes.count, kind == "same"))
    build = PoseTask.build
    PoseTask.build = lambda self: networks.append(build(self)) or networks[-1]
    state = load_state(Path(run))
    first = 0 if state is None else state["steps"]
    def die(step):
        if kind == "die" and first == 0 and processes.rank == 1 and step == 7:
            os.kill(os.getpid(), signal.SIGKILL)
    train(run, each, ignore, on_step=die)
    if processes.count > 1 and own:
        flat = torch.cat([parameter.detach().flatten() for parameter in networks[0].parameters()])
        both = [torch.empty_like(flat), torch.empty_like(flat)]
        torch.distributed.all_gather(both, flat)
        joints = [torch.empty_like(crops[0][1]) for _ in both]
        torch.distributed.all_gather(joints, crops[0][1])
        if processes.rank == 0:
            last = load_state(Path(run))["steps"]
            print(first, last, len(crops[0][0]), torch.equal(*both), torch.equal(*joints))
with process_group("cpu") as device:
    main(device)
"""


def together(tmp_path: Path, processes: int, steps: int, kind: str = "own", optimizer: Optimizer = "adam") -> list[str]:
    """Trains in several processes, in one folder per kind, and returns what the first process prints."""
    script = tmp_path / "together.py"
    script.write_text(TOGETHER.format(root=str(ROOT)))
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    arguments = [str(steps), str(tmp_path / f"{kind}{processes}"), kind, optimizer]
    done = subprocess.run(
        [sys.executable, *(launch if processes > 1 else []), str(script), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def losses(run: Path) -> np.ndarray:
    """Returns the losses in the log of a run."""
    return np.array([float(row["loss"]) for row in rows_of(run)])


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_processes_train_one_model_on_different_crops_and_resume(tmp_path: Path, optimizer: Optimizer) -> None:
    assert together(tmp_path, 2, 5, optimizer=optimizer) == ["0", "5", "8", "True", "False"]
    assert together(tmp_path, 2, 8, optimizer=optimizer) == ["5", "8", "8", "True", "False"]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "tolerance"), [("same", 1e-6), ("parts", 0.15)])
def test_two_processes_have_the_loss_curve_of_one_with_the_whole_batch(
    tmp_path: Path, kind: str, tolerance: float
) -> None:
    """The curves agree up to rounding if both halves have the same BatchNorm statistics, and nearly otherwise."""
    for processes in (1, 2):
        together(tmp_path, processes, 20, kind)
    one, two = (losses(tmp_path / f"{kind}{processes}") for processes in (1, 2))
    assert len(one) == 4
    assert one[-1] < 0.7 * one[0]
    assert two == pytest.approx(one, rel=tolerance)


@pytest.mark.slow
def test_training_resumes_after_a_process_is_killed(tmp_path: Path) -> None:
    """Started again, all processes resume from the checkpoint at step 5."""
    with pytest.raises(AssertionError, match="exitcode: -9"):
        together(tmp_path, 2, 10, "die")
    assert together(tmp_path, 2, 10, "die") == ["5", "10", "8", "True", "False"]
    assert len(losses(tmp_path / "die2")) == 2


def test_synchronized_batchnorm_requires_gpus(tmp_path: Path) -> None:
    with pytest.raises(HandPoseError, match="requires GPUs, got device cpu"):
        train(tmp_path, task(TrainingConfig(1)), ignore, sync_batchnorm=True)


def test_a_batch_of_one_crop_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(HandPoseError, match="at least two crops"):
        train(tmp_path, task(TrainingConfig(1, batch=1)), ignore)


def test_a_model_folder_is_written_from_a_run(tmp_path: Path) -> None:
    train(tmp_path / "run", task(config(3), model=SMALL), ignore)
    write_model(tmp_path / "run", tmp_path / "model")
    model = find_weights(tmp_path / "model").load()
    assert model.config == SMALL
    averaged = load_part(tmp_path / "run", "model")
    assert torch.equal(model.state_dict()["stem.conv.weight"], averaged["stem.conv.weight"].half().float())
    with pytest.raises(HandPoseError, match="no checkpoint here"):
        write_model(tmp_path, tmp_path / "other")


def test_a_model_with_the_same_weights_keeps_its_calibration_heads_and_card(tmp_path: Path) -> None:
    """The command of a complete training, run again, must not undo what was computed and written since."""
    run, folder = tmp_path / "run", tmp_path / "model"
    train(run, task(config(3), model=SMALL), ignore)
    assert write_model(run, folder, force=True)
    calibration = find_weights("nyu").config.calibration
    write_config(folder, dataclasses.replace(SMALL, calibration=calibration))
    for name in ("README.md", "heads.safetensors"):
        (folder / name).write_bytes(b"later")
    assert not write_model(run, folder, force=True)
    assert find_weights(folder).config.calibration == calibration
    assert (folder / "README.md").read_bytes() == (folder / "heads.safetensors").read_bytes() == b"later"
    other = tmp_path / "other"
    train(other, task(config(4), model=SMALL), ignore)
    assert write_model(other, folder, force=True)
    assert find_weights(folder).config.calibration is None
    assert not (folder / "heads.safetensors").exists()


@pytest.mark.parametrize("uv_scale", [95.0, 96.0, 90.0])
@pytest.mark.parametrize("cube", [250.0, 300.0])
def test_joint_errors_are_in_millimeters(uv_scale: float, cube: float) -> None:
    config = JGRP2OConfig("nyu", cube=cube, uv_scale=uv_scale)
    truth = torch.full((1, 1, 3), 0.5)
    # One patch pixel is 1 / uv_scale in u and 1/96 of the cube's side; half the side is 1 in z.
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
    with pytest.raises(HandPoseError, match=r"\(4, 3, 3\), like the true joints, got \(4, 3\)"):
        Evaluation.of(predicted[..., 0], truth)
