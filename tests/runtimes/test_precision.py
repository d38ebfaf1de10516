"""The network in 8 bits."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from handpose import Camera, HandPoseError, HandPoseEstimator
from handpose.runtimes import select
from handpose.runtimes.crops import CALIBRATION_CROPS, CROPS_FILE, render_crops, synthetic_crops
from handpose.weights.resolve import find_weights
from tests.helpers.paths import EXAMPLES

CAMERA = Camera.parse(str(EXAMPLES / "camera.json"))


def test_torch_has_no_8_bit_network(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HandPoseError, match="precision int8 requires backend onnxruntime or openvino: pip install"):
        HandPoseEstimator.from_pretrained("msra", backend="torch", precision="int8")
    with pytest.raises(HandPoseError, match=r"precision must be float32 or int8, got 'int4'"):
        HandPoseEstimator.from_pretrained("msra", precision="int4")  # type: ignore[arg-type]
    monkeypatch.setattr(select, "_installed", lambda package: package == "onnxruntime")  # `onnx` is missing
    with pytest.raises(HandPoseError, match="precision int8 requires backend"):
        HandPoseEstimator.from_pretrained("msra", precision="int8")
    monkeypatch.undo()
    pytest.importorskip("onnxruntime")
    with pytest.raises(HandPoseError, match="runs on the CPU, got device 'cuda'"):
        HandPoseEstimator.from_pretrained("msra", device="cuda", precision="int8")


def test_a_float32_file_is_not_an_8_bit_network(exported: Callable[[str], Path]) -> None:
    with pytest.raises(HandPoseError, match=r"is float32, got precision int8; export it with `int8=True`"):
        HandPoseEstimator.from_pretrained(exported(".onnx"), precision="int8")


def test_the_weights_predict_the_joints_of_the_crops() -> None:
    for name in ("msra", "nyu", "icvl"):
        weights = find_weights(name)
        patches, uvz = synthetic_crops(weights.config)
        assert (patches.shape, patches.dtype) == ((2 * CALIBRATION_CROPS, 1, 96, 96), np.float32)
        assert (patches.min(), patches.max()) == (-1.0, 1.0)
        predicted = HandPoseEstimator.from_pretrained(name, device="cpu").predict_patches(patches[:32])
        errors = np.linalg.norm((predicted - uvz[:32]) * [95 / 96 * 250, 95 / 96 * 250, 125], axis=-1)
        assert np.median(errors) < 9.0


@pytest.mark.slow
def test_the_crops_are_those_that_the_renderer_draws(tmp_path: Path) -> None:
    pytest.importorskip("anny")
    render_crops(tmp_path / "crops.npz")
    with np.load(tmp_path / "crops.npz") as fresh, np.load(CROPS_FILE) as stored:
        assert sorted(fresh) == sorted(stored)
        assert (np.abs(fresh["patches"].astype(int) - stored["patches"]) > 1).mean() < 0.001
        for name in ("msra", "nyu", "icvl"):
            assert np.abs(fresh[name].astype(float) - stored[name]).max() < 0.002


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_an_8_bit_network_is_made_once_and_its_loss_is_logged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, backend: str
) -> None:
    for package in ("onnx", "onnxruntime", backend):
        pytest.importorskip(package)
    monkeypatch.setenv("HANDPOSE_CACHE", str(tmp_path))
    caplog.set_level(logging.INFO, "handpose")
    for _ in range(2):
        estimator = HandPoseEstimator.from_pretrained("msra", backend=backend, precision="int8")  # type: ignore[arg-type]
    (line,) = (record.getMessage() for record in caplog.records)
    before, after = (float(word) for word in line.split() if word.replace(".", "").isdigit() and "." in word)
    assert 5.0 < before < after < before + 0.3
    assert estimator.name == "msra-int8"
    for name in ("open", "thumb", "down"):
        truth = np.array(json.loads((EXAMPLES / f"{name}.truth.json").read_text())["xyz_mm"])
        pose = estimator.predict(EXAMPLES / f"{name}.png", camera=CAMERA)
        assert np.linalg.norm(pose.xyz - truth, axis=1).mean() < 12.0
