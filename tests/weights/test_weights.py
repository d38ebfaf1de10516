from __future__ import annotations

import dataclasses
import hashlib
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from handpose.errors import WeightsError
from handpose.geometry.camera import Camera
from handpose.geometry.layouts import LAYOUTS
from handpose.inference.estimator import HandPoseEstimator
from handpose.io.depth.read import read_depth
from handpose.network.config import JGRP2OConfig
from handpose.weights import registry as module
from handpose.weights.folder import read_config, write_folder
from handpose.weights.registry import WEIGHTS, WeightsRecord
from handpose.weights.resolve import find_weights, model_argument
from tests.helpers.paths import EXAMPLES


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(WEIGHTS["msra"].built_in, tmp_path / "model"))


@pytest.mark.parametrize("record", WEIGHTS.values(), ids=lambda record: record.name)
def test_records_match_their_files(record: WeightsRecord) -> None:
    file = record.built_in / "model.safetensors"
    assert hashlib.sha256(file.read_bytes()).hexdigest() == record.sha256
    weights = find_weights(record.name, local_files_only=True)
    assert weights.model_file == file
    assert weights.config.layout == record.layout
    assert sum(p.numel() for p in weights.load().parameters()) == record.parameters
    assert record.revision is None or len(record.revision) == 40
    assert record.error_mm
    assert file.stat().st_size < 3_000_000


def assert_rejected(folder: Path, message: str) -> None:
    with pytest.raises(WeightsError, match=message) as error:
        find_weights(folder).load()
    assert "\n" not in str(error.value)


class TestRejected:
    def change(self, folder: Path, change) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors")

    def test_missing_and_unknown_tensors_and_wrong_shapes(self, folder: Path) -> None:
        self.change(folder, lambda t: t.pop("stem.conv.weight"))
        assert_rejected(folder, r"1 tensors do not fit.*stem.conv.weight': expected \(32, 1, 7, 7\), got nothing")
        self.change(
            folder, lambda t: t.update({"stem.conv.weight": np.zeros((32, 1, 7, 7), "f4"), "more": np.zeros(2, "f4")})
        )
        assert_rejected(folder, r"more': expected nothing, got \(2,\)")
        self.change(folder, lambda t: (t.pop("more"), t.update({"stem.conv.weight": np.zeros((32, 1, 7, 5), "f4")})))
        assert_rejected(folder, r"expected \(32, 1, 7, 7\), got \(32, 1, 7, 5\)")

    def test_nan(self, folder: Path) -> None:
        self.change(folder, lambda t: t["stem.bn.weight"].fill(np.nan))
        assert_rejected(folder, "stem.bn.weight contains NaN")

    def test_integers(self, folder: Path) -> None:
        self.change(folder, lambda t: t.update({"stem.bn.weight": np.ones(32, "i4")}))
        assert_rejected(folder, "int32, expected float16")

    @pytest.mark.parametrize("length", [0, 4, 100, 100_000])
    def test_truncated_files(self, folder: Path, length: int) -> None:
        file = folder / "model.safetensors"
        file.write_bytes(file.read_bytes()[:length])
        assert_rejected(folder, "not a readable safetensors file")

    @pytest.mark.parametrize(
        ("config", "message"),
        [
            ("{", "config.json"),
            ("[]", "expected an object"),
            ('{"layout": "mano"}', "layout must be one of"),
            ('{"layout": "msra", "depth": 3}', "expected an object with layout, stacks"),
            ('{"layout": "msra", "cube": -1}', "cube must be a number between"),
            ('{"layout": "msra", "cube": NaN}', "cube must be a number"),
            ('{"layout": "msra", "features": 1e9}', "features must be an integer"),
            ('{"layout": "icvl"}', "do not fit the icvl network"),
        ],
    )
    def test_configurations_that_do_not_match(self, folder: Path, config: str, message: str) -> None:
        (folder / "config.json").write_text(config)
        assert_rejected(folder, message)

    def test_incomplete_folders_and_unknown_names(self, folder: Path) -> None:
        (folder / "config.json").unlink()
        assert_rejected(folder, "no config.json")
        assert_rejected(folder / "nowhere" / "at" / "all", "no such weights; expected msra")

    def test_a_pickle_is_never_opened(self, tmp_path: Path) -> None:
        class Trap:
            def __reduce__(self):
                return (pytest.fail, ("a pickle was opened",))

        for name in ("model.pth", "model.pt", "pytorch_model.bin"):
            (tmp_path / name).write_bytes(pickle.dumps(Trap()))
            assert_rejected(tmp_path / name, "not opened")


def test_a_model_folder_with_the_name_of_built_in_weights_is_not_mistaken_for_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    folder.rename("msra")
    for name in (Path("msra"), "./msra", model_argument(Path("msra"))):
        assert find_weights(name).model_file.resolve() == folder.parent / "msra/model.safetensors"
    with pytest.warns(UserWarning, match=r"msra: is the name of built-in weights, which are used, .*; pass \./msra"):
        assert find_weights("msra").model_file == WEIGHTS["msra"].built_in / "model.safetensors"
    (folder.parent / "msra/config.json").unlink()  # such as the data set
    assert find_weights("msra").model_file == WEIGHTS["msra"].built_in / "model.safetensors"
    assert model_argument(Path("runs/msra")) == "runs/msra"


def test_a_damaged_built_in_copy_is_rejected(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BUILT_IN", folder.parent)
    folder.rename(folder.parent / "msra")
    assert find_weights("msra").name == "msra"
    file = folder.parent / "msra" / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(WeightsError, match="missing or damaged; reinstall"):
        find_weights("msra")


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("existing", [True, False])
def test_a_model_folder_is_written_atomically(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, existing: bool) -> None:
    """Killed before any change of a file, the folder contains the old model, the new model, or no complete one."""
    calls = 0

    def killing(function, last: int):
        def call(*arguments, **options):
            nonlocal calls
            calls += 1
            if calls > last:
                raise Killed
            return function(*arguments, **options)

        return call

    finished = False
    for last in range(20):
        folder = tmp_path / str(last) / "model"
        if existing:
            write_folder(folder, JGRP2OConfig("msra", cube=100.0), {"x": np.array([100.0])})
            for name in ("README.md", "heads.safetensors", "notes.txt"):
                (folder / name).write_text("of the first weights")
        calls = 0
        with monkeypatch.context() as patch:
            for name in ("mkdir", "rename", "replace", "unlink", "chmod"):
                patch.setattr(Path, name, killing(getattr(Path, name), last))
            try:
                write_folder(folder, JGRP2OConfig("msra", cube=200.0), {"x": np.array([200.0])}, force=True)
                finished = True
            except Killed:
                pass
        files = {file.name for file in folder.iterdir()} if folder.exists() else set()
        if {"config.json", "model.safetensors"} <= files:
            cube = read_config(folder / "config.json").cube
            assert load_file(folder / "model.safetensors")["x"] == [cube]
            assert cube == 200.0 if finished else cube in (100.0, 200.0)
            described = {"README.md", "heads.safetensors"} & files
            assert len(described) == (2 if cube == 100.0 else 0), "the card and the heads describe other weights"
        assert not existing or "notes.txt" in files
        if finished:
            assert {"config.json", "model.safetensors"} <= files
            assert [path.name for path in folder.parent.iterdir()] == ["model"]
            break
    assert finished
    assert last > 2


@pytest.mark.parametrize("layout", LAYOUTS)
def test_configurations_are_unchanged_by_json(layout: str) -> None:
    config = JGRP2OConfig(layout, cube=175.0, uv_scale=96.0)
    assert JGRP2OConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_records_are_immutable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        WEIGHTS["msra"].sha256 = ""  # type: ignore[misc]


@pytest.mark.parametrize("name", WEIGHTS)
def test_built_in_weights_predict_the_named_fingertips(name: str) -> None:
    record, weights = WEIGHTS[name], find_weights(name)
    assert weights.config.layout == record.layout
    assert sum(parameter.numel() for parameter in weights.load().parameters()) == record.parameters
    depth, camera = read_depth(EXAMPLES / "open.png"), Camera.parse(str(EXAMPLES / "camera.json"))
    estimator = HandPoseEstimator.from_pretrained(name, device="cpu", backend="torch")
    pose = estimator.predict(depth, camera=camera, hand="right")
    truth = json.loads((EXAMPLES / "open.truth.json").read_text())
    xyz = dict(zip(truth["joints"], np.array(truth["xyz_mm"]), strict=True))
    for finger in ("thumb", "index", "middle", "ring", "pinky"):  # near the true fingertip, and nearest to it of all
        tip = {other: np.linalg.norm(pose[f"{finger}_tip"] - xyz[f"{other}_tip"]) for other in pose.layout.fingers}
        assert min(tip, key=tip.__getitem__) == finger
        assert tip[finger] < 20.0
