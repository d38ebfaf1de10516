from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import handpose.evaluation.calibrate
from handpose import MSRA21, Camera, HandPoseEstimator, JointLayout, WeightsError, read_depth
from handpose.evaluation.calibrate import Predictions, calibrate, fit_first_pass, fit_passes
from handpose.geometry.bones import bone_deviation, bone_lengths
from handpose.inference.decode import status_of
from handpose.inference.query import Query
from handpose.io.progress import reporting
from handpose.network.calibration import Calibration
from handpose.network.config import JGRP2OConfig
from handpose.weights.resolve import find_weights
from tests.helpers.faults_jobs import disk_of
from tests.helpers.paths import EXAMPLES

CAMERA = Camera.parse(str(EXAMPLES / "camera.json"))
HAND = np.array(json.loads((EXAMPLES / "open.truth.json").read_text())["xyz_mm"])
BONES = tuple(bone_lengths(HAND, MSRA21).tolist())
USUAL = 4.0  # mm between passes


def test_bone_deviation_is_the_logarithm_of_the_length_ratio() -> None:
    size, deviation = bone_deviation(HAND * 1.3, BONES, MSRA21)
    assert size == pytest.approx(1.3)
    assert deviation == pytest.approx(0.0, abs=1e-12)
    longer = HAND.copy()
    tip, dip = MSRA21.joints.index("index_tip"), MSRA21.joints.index("index_dip")
    longer[tip] = HAND[dip] + 2.0 * (HAND[tip] - HAND[dip])
    _, deviation = bone_deviation(longer, BONES, MSRA21)
    expected = np.zeros(len(BONES))
    expected[[child for _, child in MSRA21.bones].index(tip)] = math.log(2.0)
    assert deviation == pytest.approx(expected, abs=1e-12)


def power_law(scale: float, joint: float, hand: float, bone: float, passes: float = 0.0) -> Calibration:
    """Return a calibration whose expected error is a power law."""
    return Calibration(joint, hand, bone, (1e9,), (scale * 1e9,), BONES, passes, USUAL)


def test_the_expected_error_follows_the_knots() -> None:
    spread = np.zeros((21, 3))
    spread[:, 0] = np.linspace(4.0, 24.0, 21)
    score = spread[:, 0] ** 0.5 * 14.0 * 0.05**2.0
    assert power_law(1.0, 0.5, 1.0, 2.0).expected_error(HAND, spread, MSRA21) == pytest.approx(score)
    knots = Calibration(0.5, 1.0, 2.0, (0.1, 0.15), (10.0, 30.0), BONES)
    expected = np.where(score < 0.1, score * 100.0, np.minimum(10.0 + (score - 0.1) * 400.0, 30.0))
    assert knots.expected_error(HAND, spread, MSRA21) == pytest.approx(expected)
    assert np.ptp(expected) > 15.0


def test_passes_that_agree_lower_the_expected_error() -> None:
    spread = np.full((21, 3), 4.0)
    calibration = power_law(1.0, 0.5, 1.0, 0.0, passes=0.5)
    single = calibration.expected_error(HAND, spread, MSRA21)
    for apart, factor in ((USUAL, 1.0), (0.0, 0.2**0.5), (4.0 * USUAL + 3.0, 4.0**0.5)):
        several = calibration.expected_error(HAND, spread, MSRA21, apart=np.full(21, apart))
        assert several == pytest.approx(factor * single)


def predictions(count: int, calibration: Calibration, seed: int, refined: float = 0.0) -> Predictions:
    """Return predictions whose errors are the expected ones times exponential random numbers.

    A share of them, `refined`, has several passes.
    """
    rng = np.random.default_rng(seed)
    xyz = HAND * rng.uniform(0.8, 1.2, (count, 1, 1)) + rng.normal(size=(count, 21, 3)) * 4.0
    spread = np.exp(rng.normal(2.0, 0.5, (count, 1, 1)) + rng.normal(0.0, 0.5, (count, 21, 3)))
    directions = rng.normal(size=xyz.shape)
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    apart = np.exp(rng.normal(math.log(USUAL + 1.0), 1.0, (count, 21))) - 1.0
    apart = np.where(np.arange(count)[:, None] < refined * count, apart.clip(0.0), np.nan)
    predicted = Predictions(xyz, spread, apart, xyz)
    errors = predicted.expected(calibration, MSRA21) * rng.exponential(1.0, (count, 21))
    return replace(predicted, truth=xyz - directions * errors[..., None])


def test_a_known_calibration_is_recovered() -> None:
    true = power_law(0.4, 0.5, 1.2, 0.3, passes=0.5)
    # The exponent of the bones cannot be compared: bone lengths are measured on the truth, which is noisy here.
    fitted = fit_first_pass(predictions(2000, true, 0), MSRA21)
    assert (fitted.passes, fitted.passes_mm) == (0.0, 0.0)
    fitted = fit_passes(fitted, predictions(2000, true, 2, refined=0.5), MSRA21)
    assert fitted.joint == pytest.approx(true.joint, abs=0.05)
    assert fitted.hand == pytest.approx(true.hand, abs=0.1)
    assert fitted.passes == pytest.approx(true.passes, abs=0.05)
    assert fitted.passes_mm == pytest.approx(USUAL, rel=0.15)
    fresh = predictions(2000, true, 1, refined=0.5)
    expected, errors = fresh.expected(fitted, MSRA21), fresh.errors
    for part in np.array_split(np.argsort(expected.ravel()), 5):
        assert expected.ravel()[part].mean() == pytest.approx(errors.ravel()[part].mean(), rel=0.15)


def test_a_mean_expected_error_above_20_mm_is_doubted() -> None:
    errors = np.full(21, 20.0)
    assert status_of(errors, math.nan) == "ok"
    errors[3] += 0.1
    assert status_of(errors, math.nan) == "low_confidence"
    assert status_of(np.full(21, math.nan), math.nan) == "ok"  # without a calibration


def test_uninformative_spreads_cannot_be_calibrated() -> None:
    random = predictions(500, power_law(100.0, 0.0, 0.0, 0.0), 0)
    inverse = 1.0 / np.maximum(random.errors, 0.01)
    with pytest.raises(WeightsError, match="errors do not"):
        fit_first_pass(replace(random, spread=inverse[..., None] * np.ones(3)), MSRA21)


def test_a_calibration_survives_the_round_trip_through_its_config() -> None:
    config = JGRP2OConfig("msra", calibration=power_law(0.4, 0.5, 1.2, 0.3, passes=0.5))
    values = json.loads(json.dumps(config.to_dict()))
    assert JGRP2OConfig.from_dict(values) == config
    older = {name: value for name, value in values["calibration"].items() if not name.startswith("passes")}
    assert JGRP2OConfig.from_dict(values | {"calibration": older}).calibration == replace(
        config.calibration, passes=0.0, passes_mm=0.0
    )
    old = JGRP2OConfig("msra").to_dict()
    assert "calibration" not in old
    assert JGRP2OConfig.from_dict(old).calibration is None
    for change in (
        {"joint": "1"},
        {"hand": -0.1},
        {"doubts": [0.0]},
        {"doubts": [1.0, 2.0]},
        {"doubts": [2.0, 1.0], "errors_mm": [1.0, 2.0]},
        {"doubts": [], "errors_mm": []},
        {"bone": math.nan},
        {"passes": -0.5},
        {"bones_mm": 3},
        {"bones_mm": [10.0] * 13},
        {"bones_mm": [0.0] * 20},
        {"more": 1.0},
    ):
        with pytest.raises(WeightsError):
            JGRP2OConfig.from_dict(values | {"calibration": values["calibration"] | change})
    with pytest.raises(WeightsError):
        JGRP2OConfig.from_dict(values | {"calibration": {"joint": 1.0}})


def test_the_calibration_determines_the_status() -> None:
    estimator = HandPoseEstimator.from_pretrained("msra", device="cpu", local_files_only=True)
    plain = estimator.config
    statuses = {}
    for name, calibration in (
        ("none", None),
        ("confident", power_law(19.0, 0.0, 0.0, 0.0)),
        ("uncertain", power_law(21.0, 0.0, 0.0, 0.0)),
    ):
        estimator.config = replace(plain, calibration=calibration)
        pose = estimator.predict(EXAMPLES / "open.png", camera=CAMERA)
        statuses[name] = pose.status
        assert np.isfinite(pose.xyz).all()
        if calibration is None:
            assert np.isnan(pose.error_mm).all()
            assert pose.to_dict()["error_mm"] == [None] * 21
        else:
            assert pose.error_mm == pytest.approx(calibration.errors_mm[0] / 1e9)
    assert statuses == {"none": "ok", "confident": "ok", "uncertain": "low_confidence"}


def test_calibrate_changes_only_the_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def increasingly_noisy(layout: JointLayout, frames: int) -> Iterator[tuple[np.ndarray, Camera, np.ndarray]]:
        rng = np.random.default_rng(0)
        for i in range(frames):
            name = ("open", "thumb", "down")[i % 3]
            depth = read_depth(EXAMPLES / f"{name}.png")
            noisy = depth + rng.normal(size=depth.shape) * 6.0 * i * (depth > 0)
            truth = json.loads((EXAMPLES / f"{name}.truth.json").read_text())["xyz_mm"]
            yield noisy.astype(np.float32), CAMERA, np.array(truth)

    built_in = find_weights("msra")
    plain = replace(built_in.config, calibration=None)
    (tmp_path / "config.json").write_text(json.dumps(plain.to_dict()))
    shutil.copy(built_in.model_file, tmp_path / "model.safetensors")
    shutil.copy(built_in.model_file.parent / "heads.safetensors", tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    monkeypatch.setattr(handpose.evaluation.calibrate, "synthetic_validation", increasingly_noisy)
    reported: list[int] = []
    changed: list[str] = []
    have_heads: list[bool] = []

    class Watched(HandPoseEstimator):
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, **kwargs)
            have_heads.append(self._heads is not None)

        def __setattr__(self, name: str, value: object) -> None:
            if name in vars(self) and not name.startswith("_"):
                changed.append(name)
            super().__setattr__(name, value)

    monkeypatch.setattr(handpose.evaluation.calibrate, "HandPoseEstimator", Watched)
    with reporting(lambda what, done, total, remark: reported.append(done)):
        calibration = calibrate(tmp_path, 12, "cpu")
    assert changed == []
    assert have_heads == [True, True]  # as when the weights are used
    assert reported == [*range(4), *range(13)]
    with disk_of(100), pytest.raises(WeightsError, match="cannot be written"):
        calibrate(tmp_path, 12, "cpu")
    assert {file.name for file in tmp_path.iterdir()} == {"config.json", "heads.safetensors", "model.safetensors"}
    assert find_weights(tmp_path).config == replace(plain, calibration=calibration)
    assert (tmp_path / "model.safetensors").read_bytes() == before
    clear, noisy = (image[0] for image in (*increasingly_noisy(MSRA21, 1), list(increasingly_noisy(MSRA21, 10))[9]))
    estimator = HandPoseEstimator.from_pretrained(tmp_path, device="cpu")
    errors = [
        estimator.predict_unchecked(image, Query(CAMERA, hand="right")).error_mm.mean() for image in (clear, noisy)
    ]
    assert errors[1] > 1.5 * errors[0]
    with pytest.raises(WeightsError, match="no such folder"):
        calibrate(tmp_path / "nowhere", 12, "cpu")
