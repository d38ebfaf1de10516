from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from handpose import HandPoseEstimator
from handpose.errors import HandPoseError, WeightsError
from handpose.weights.tensorflow_bundle import crc32c, read_variables
from handpose.weights.tensorflow_import import convert, variable_names
from tests.helpers.paths import SHARED

FIXTURE = SHARED / "reference" / "tf-icvl"
NAME = "3D_Detection.model-1"
DATA = f"{NAME}.data-00000-of-00001"


def test_crc32c_of_the_standard_vectors() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43


def test_every_tensor_of_the_network_has_one_variable() -> None:
    from handpose.network.config import JGRP2OConfig
    from handpose.network.model import JGRP2O

    ours = [
        name.replace(".offsets.u.", ".offsets.")
        for name in variable_names().values()
        if ".offsets.v." not in name and ".offsets.z." not in name
    ]
    expected = [name for name in JGRP2O(JGRP2OConfig("icvl")).state_dict() if not name.endswith("num_batches_tracked")]
    assert sorted(ours) == sorted(expected)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    for file in (f"{NAME}.index", DATA):
        shutil.copyfile(FIXTURE / file, tmp_path / file)
    return tmp_path / NAME


@pytest.mark.shared
def test_a_converted_checkpoint_reproduces_the_recorded_outputs(checkpoint: Path, reference) -> None:
    out = checkpoint.parent / "model"
    convert(checkpoint, out, "icvl")
    assert json.loads((out / "config.json").read_text())["uv_scale"] == 96
    estimator = HandPoseEstimator.from_pretrained(out, device="cpu")
    data = reference("network-icvl.npz")
    uvz = estimator.predict_patches(data["image"].transpose(0, 3, 1, 2))
    assert np.abs(uvz[..., :2] * estimator.config.uv_scale - data["output_uv"]).max() < 0.01
    assert np.abs(uvz[..., 2] * estimator.config.cube / 2 - data["output_z"]).max() < 0.0125


@pytest.mark.shared
def test_variables_of_the_published_checkpoint(checkpoint: Path) -> None:
    variables = read_variables(checkpoint)
    assert len(variables) == 413
    assert variables["conv2d_10/kernel"].shape == (1, 1, 64, 128)
    assert variables["conv2d_2/kernel"].shape == (3, 3, 32, 32)


def assert_rejected(checkpoint: Path, layout: str, message: str) -> None:
    out = checkpoint.parent / "model"
    with pytest.raises(WeightsError, match=message) as error:
        convert(checkpoint, out, layout)
    assert "\n" not in str(error.value)
    assert {path.name for path in checkpoint.parent.iterdir()} <= {f"{NAME}.index", DATA}


def edit(path: Path, change) -> None:
    data = bytearray(path.read_bytes())
    path.write_bytes(bytes(change(data)))


def flipped(at: int):
    def change(data: bytearray) -> bytearray:
        data[at] ^= 1
        return data

    return change


@pytest.mark.shared
class TestRejected:
    def test_the_wrong_layout(self, checkpoint: Path) -> None:
        assert_rejected(checkpoint, "nyu", "predicts 16 joints, layout nyu has 14")

    def test_no_file(self, checkpoint: Path) -> None:
        (checkpoint.parent / DATA).unlink()
        assert_rejected(checkpoint, "icvl", "no such file")

    @pytest.mark.parametrize("length", [0, 10, 47, 5000, 14_839])
    def test_a_truncated_index(self, checkpoint: Path, length: int) -> None:
        edit(checkpoint.with_name(f"{NAME}.index"), lambda data: data[:length])
        assert_rejected(checkpoint, "icvl", "truncated")

    @pytest.mark.parametrize("at", [0, 100, 4096, 9000, 14_700])
    def test_a_damaged_index(self, checkpoint: Path, at: int) -> None:
        edit(checkpoint.with_name(f"{NAME}.index"), flipped(at))
        assert_rejected(checkpoint, "icvl", "damaged checkpoint index")

    @pytest.mark.parametrize("length", [0, 1000, 5_528_319])
    def test_truncated_data(self, checkpoint: Path, length: int) -> None:
        edit(checkpoint.with_name(DATA), lambda data: data[:length])
        assert_rejected(checkpoint, "icvl", "truncated")

    @pytest.mark.parametrize("at", [0, 123_456, 5_528_319])
    def test_damaged_data(self, checkpoint: Path, at: int) -> None:
        edit(checkpoint.with_name(DATA), flipped(at))
        assert_rejected(checkpoint, "icvl", "checksum of .* is wrong")

    def test_another_network(self, checkpoint: Path, monkeypatch) -> None:
        variables = read_variables(checkpoint)
        del variables["conv2d_17/kernel"]
        monkeypatch.setattr("handpose.weights.tensorflow_import.read_variables", lambda _: variables)
        assert_rejected(checkpoint, "icvl", "1 variables are missing or unknown, first 'conv2d_17/kernel")

    def test_an_existing_folder(self, checkpoint: Path) -> None:
        with pytest.raises(HandPoseError, match="already exists"):
            convert(checkpoint, checkpoint.parent, "icvl")
