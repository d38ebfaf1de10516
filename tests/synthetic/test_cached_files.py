"""Cached files that take long to generate: one process generates them once, and again if they are damaged."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from handpose.synthetic import hand_file as hand
from handpose.synthetic import poses, testset
from handpose.synthetic.hand_file import cached_hand_file
from handpose.synthetic.hand_model import HandModel
from handpose.synthetic.poses import cached_pose_bank
from handpose.synthetic.skeleton import BONES, LANDMARKS
from tests.helpers.faults_jobs import kill_at_renames


def small_hand() -> dict[str, np.ndarray]:
    """A hand of four vertices."""
    points = 4 + len(LANDMARKS)
    rng = np.random.default_rng(0)
    return {
        "mean": rng.normal(size=(points, 3)).astype(np.float32),
        "basis": np.zeros((2, points, 3), np.float32),
        "coefficients": np.zeros((3, 2), np.float32),
        "faces": np.zeros((1, 3), np.int32),
        "skin": np.ones((4, len(BONES)), np.float32),
        "axes": np.zeros((len(BONES), 3, 3), np.float32),
    }


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The generated files, in a separate cache."""
    made: list[str] = []

    def compile_hand(path: Path, **_: object) -> None:
        made.append(path.name)
        np.savez_compressed(path, **small_hand())

    def pose_bank(hand: HandModel, count: int, seed: int) -> torch.Tensor:
        made.append("poses")
        return torch.rand(count, len(BONES), 3, generator=torch.Generator().manual_seed(seed))

    monkeypatch.setenv("HANDPOSE_CACHE", str(tmp_path / "cache"))
    for module in (hand, testset):
        monkeypatch.setattr(module, "compile_hand", compile_hand)
    monkeypatch.setattr(poses, "pose_bank", pose_bank)
    return made


def hand_of_training() -> torch.Tensor:
    return HandModel(cached_hand_file()).mean


def poses_of_training() -> torch.Tensor:
    return cached_pose_bank(None, 50)  # type: ignore[arg-type]


def hand_of_the_test_set() -> torch.Tensor:
    return testset.testset_hand()[0].mean


@pytest.mark.parametrize(
    ("name", "get"),
    [("hand.npz", hand_of_training), ("poses-50-0.npy", poses_of_training), ("hand-test.npz", hand_of_the_test_set)],
)
def test_a_damaged_file_is_reported_and_generated_again(tmp_path: Path, made: list[str], name: str, get) -> None:
    whole = get()
    first, file = len(made), tmp_path / "cache" / name
    assert torch.equal(get(), whole)
    assert len(made) == first
    data = file.read_bytes()
    broken = [data[: len(data) * i // 10] for i in range(10)] + [b"junk" * 100]
    middle = len(data) // 2
    if name.endswith("npz"):  # which contains checksums
        broken.append(data[:middle] + bytes(byte ^ 0xFF for byte in data[middle : middle + 8]) + data[middle + 8 :])
    for count, content in enumerate(broken, first + 1):
        file.write_bytes(content)
        with pytest.warns(UserWarning, match=rf"{name}: is damaged \(.*\); it is regenerated") as caught:
            assert torch.equal(get(), whole)
        assert [Path(one.filename).name for one in caught] == [Path(__file__).name]
        assert "\n" not in str(caught[0].message)
        assert len(made) == count
        assert torch.equal(get(), whole)


def test_poses_of_another_shape_are_generated_again(tmp_path: Path, made: list[str]) -> None:
    whole = poses_of_training()
    np.save(tmp_path / "cache" / "poses-50-0.npy", np.zeros((49, len(BONES), 3), np.float16))
    with pytest.warns(UserWarning, match="expected 50 poses"):
        assert torch.equal(poses_of_training(), whole)


def test_a_kill_leaves_no_damaged_file(tmp_path: Path, made: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = poses_of_training()

    def run(k: int) -> None:
        monkeypatch.setenv("HANDPOSE_CACHE", str(tmp_path / f"killed{k}"))
        poses_of_training()

    with pytest.MonkeyPatch.context() as patch:
        kill_at_renames(patch, run)
    folders = sorted(tmp_path.glob("killed*"))
    assert len(folders) == 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for folder in folders:
            monkeypatch.setenv("HANDPOSE_CACHE", str(folder))
            assert torch.equal(poses_of_training(), whole)


MANY = """
import sys, time, torch
from pathlib import Path
from handpose.synthetic import poses
def pose_bank(hand, count, seed):
    with open(sys.argv[1], "a") as file:
        file.write("made\\n")
    time.sleep(0.5)
    return torch.rand(count, len(poses.BONES), 3)
poses.pose_bank = pose_bank
ready = Path(sys.argv[1] + sys.argv[2])
ready.touch()
while len(list(ready.parent.glob("log?"))) < 2:
    time.sleep(0.01)
print(float(poses.cached_pose_bank(None, 50).double().sum()))
"""


def test_only_one_of_two_processes_generates_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANDPOSE_CACHE", str(tmp_path / "cache"))
    processes = [
        subprocess.Popen([sys.executable, "-c", MANY, tmp_path / "log", str(i)], stdout=subprocess.PIPE, text=True)
        for i in range(2)
    ]
    outputs = {process.communicate(timeout=120)[0] for process in processes}
    assert [process.returncode for process in processes] == [0, 0]
    assert len(outputs) == 1
    assert (tmp_path / "log").read_text() == "made\n"


@pytest.mark.slow
def test_a_hand_is_written_atomically(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("anny", reason="requires the extra train")
    written: list[Path] = []
    monkeypatch.setattr(hand, "write_atomically", lambda path, data: written.append(path))
    hand.compile_hand(tmp_path / "hand.npz", shapes=25)
    assert written == [tmp_path / "hand.npz"]
    assert not list(tmp_path.iterdir())
