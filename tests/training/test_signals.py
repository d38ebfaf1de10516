"""Training loses nothing: on Ctrl-C, on SIGTERM, at the time limit, and if a validation fails."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from handpose.errors import HandPoseError
from handpose.network.device import available_device
from handpose.training.checkpoint import load_state
from handpose.training.config import TrainingConfig
from handpose.training.distributed import training_device
from handpose.training.pose_task import PoseTask
from handpose.training.trainer import train
from tests.helpers.command import run
from tests.helpers.datasets import write_nyu
from tests.helpers.training import SMALL, assert_same, ignore, task


def steps_of(folder: Path) -> int:
    state = load_state(folder)
    return 0 if state is None else int(state["steps"])


def test_a_checkpoint_is_saved_before_a_validation_which_is_then_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = TrainingConfig(4, batch=4, average=0.9, validate_every=2)
    train(tmp_path / "uninterrupted", task(settings, model=SMALL), ignore)
    with monkeypatch.context() as context:
        context.setattr(PoseTask, "validate", lambda self, network: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "killed", task(settings, model=SMALL), ignore)
    assert steps_of(tmp_path / "killed") == 2
    rows: list[dict[str, float]] = []
    assert train(tmp_path / "killed", task(settings, model=SMALL), rows.append) == 4
    assert [row["step"] for row in rows] == [2, 4]
    assert_same(tmp_path / "killed", tmp_path / "uninterrupted")


def test_a_run_that_is_stopped_between_validations_continues_exactly(tmp_path: Path) -> None:
    settings = TrainingConfig(4, batch=4, average=0.9, validate_every=4)
    expected: list[dict[str, float]] = []
    train(tmp_path / "uninterrupted", task(settings, model=SMALL), expected.append)
    rows: list[dict[str, float]] = []
    assert train(tmp_path / "stopped", task(settings, model=SMALL), rows.append, should_stop=lambda: True) == 1
    assert rows == []
    assert train(tmp_path / "stopped", task(settings, model=SMALL), rows.append, max_minutes=0.0) == 2
    assert rows == []
    train(tmp_path / "stopped", task(settings, model=SMALL), rows.append)
    assert_same(tmp_path / "stopped", tmp_path / "uninterrupted")
    assert [row["loss"] for row in rows] == pytest.approx([row["loss"] for row in expected])


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_a_checkpoint_and_the_same_command_continues(tmp_path: Path, number: int, code: int) -> None:
    write_nyu(tmp_path / "nyu", 12, "train")
    words = ["train", tmp_path / "run", "--data", "nyu", "--root", tmp_path / "nyu", "--centers", "truth"]
    command = [*map(str, words), "--batch-size", "2", "--steps", "500", "--validate-every", "400"]
    process = subprocess.Popen(
        [sys.executable, "-m", "handpose", *command],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "training ...\n"
    process.send_signal(number)
    err = process.stderr.read()
    assert process.wait() == code
    done = steps_of(tmp_path / "run")
    assert done >= 1
    assert re.search(rf"stopped after step {done} of 500 and saved; run the same command again to resume", err)
    assert run(*command, "--max-minutes", "0")[0] == 0
    assert steps_of(tmp_path / "run") == done + 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("cuda", "device 'cuda' cannot be used: "),
        ("cuda:1", "device 'cuda:1' cannot be used: "),
        ("gpu", "device must be auto, cpu, cuda"),
        ("meta", "device 'meta' cannot be used: "),
    ],
)
def test_a_device_that_cannot_be_used_is_one_line(device: str, message: str) -> None:
    for check in (available_device, training_device):
        with pytest.raises(HandPoseError, match=message) as error:
            check(device)
        assert "\n" not in str(error.value)
    with pytest.raises(HandPoseError, match="only cpu and cuda are supported here"):
        training_device("mps")
    assert training_device("auto") == "cpu"


@pytest.mark.parametrize("command", [("train", "run", "--steps", "2"), ("ablate", "runs")])
def test_commands_check_the_device(tmp_path: Path, command: tuple[str, ...]) -> None:
    code, out, err = run(*command, "--device", "gpu", cwd=tmp_path)
    assert (code, out, list(tmp_path.iterdir())) == (2, "", [])
    assert err.startswith("error: device must be auto, cpu, cuda")
    assert err.count("\n") == 1
