"""Calibration of the expected joint error, on synthetic images that are in no other set."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

import numpy as np

from handpose.errors import WeightsError
from handpose.geometry.bones import bone_lengths
from handpose.geometry.layouts import JointLayout
from handpose.inference.estimator import HandPoseEstimator
from handpose.io.depth.units import DepthUnitWarning
from handpose.io.progress import track
from handpose.network.calibration import BAD_JOINT, Calibration, uncertainty_features
from handpose.runtimes.select import load_runtime
from handpose.synthetic.testset import synthetic_validation
from handpose.weights.folder import CONFIG_FILE, write_config
from handpose.weights.resolve import find_weights

_QUANTILES = (0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98)  # of the uncertainty, with a knot between two of them
_MIN_ERROR = 0.5  # mm; without it, joints that are accurate by chance would dominate the fit of the logarithms


def calibrate(folder: Path, frames: int, device: str) -> Calibration:
    """Calibrate the weights in a model folder, write the calibration into its `config.json`, and return it.

    Args:
        folder: Model folder.
        frames: Number of validation images.
        device: Device that runs the network.

    Raises:
        WeightsError: The folder contains no model, or the file cannot be written.
    """
    if not folder.is_dir():
        raise WeightsError(f"{folder}: no such folder; expected a model folder with {CONFIG_FILE}")
    weights = find_weights(folder)
    config = dataclasses.replace(weights.config, calibration=None)  # an old one must not influence the new one
    weights = dataclasses.replace(weights, config=config)
    estimator = HandPoseEstimator(load_runtime(weights, "auto", device), config, weights.name, weights.sha256)
    xyz, spread, truth = [], [], []
    images = synthetic_validation(estimator.layout, frames)
    for depth, camera, joints in track(images, f"calibrating {weights.name}", frames):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DepthUnitWarning)  # the unit is known to be mm
            pose = estimator.predict(depth, camera=camera)
        if pose.status != "no_hand":
            xyz.append(pose.xyz)
            spread.append(pose.spread)
            truth.append(joints)
    calibration = fit_calibration(np.array(xyz), np.array(spread), np.array(truth), estimator.layout)
    write_config(folder, dataclasses.replace(config, calibration=calibration))
    return calibration


def fit_calibration(xyz: np.ndarray, spread: np.ndarray, truth: np.ndarray, layout: JointLayout) -> Calibration:
    """Return the calibration that fits predictions best.

    Least squares on the logarithms of the errors give the exponents, and mean errors give the knots. Features with a
    negative exponent are excluded, because the expected error must not decrease as the uncertainty increases.

    Args:
        xyz: (N, J, 3) predicted joints in mm.
        spread: (N, J, 3) vote spread in mm.
        truth: (N, J, 3) true joints in mm.
        layout: Layout of the joints.

    Raises:
        WeightsError: The errors do not increase with any of the features.
    """
    errors = np.linalg.norm(xyz - truth, axis=-1)
    bones_mm = tuple(np.median(bone_lengths(truth, layout), axis=0).round(2).tolist())
    features = uncertainty_features(xyz, spread, bones_mm, layout).reshape(errors.size, -1)
    logarithms = np.log(np.maximum(errors.ravel(), _MIN_ERROR))
    powers, used = np.zeros(features.shape[1]), list(range(features.shape[1]))
    while used and not powers.any():
        design = np.column_stack([features[:, used], np.ones(errors.size)])
        fitted = np.linalg.lstsq(design, logarithms, rcond=None)[0][:-1]
        if (fitted > 0.0).all():
            powers[used] = fitted
        used = [feature for feature, power in zip(used, fitted, strict=True) if power > 0.0]
    if not powers.any():
        raise WeightsError(
            "the errors do not increase with the uncertainty score; use more frames, or train the weights first"
        )
    score, joint_errors = np.exp(features @ powers), errors.ravel()
    groups = np.split(score.argsort(), [round(share * errors.size) for share in _QUANTILES])
    # The expected error must not decrease as the uncertainty increases, even if it does in the sample.
    means = np.maximum.accumulate([joint_errors[group].mean() for group in groups])
    joint, hand, bone = powers.round(4).tolist()
    knots = Calibration(
        joint,
        hand,
        bone,
        doubts=tuple(float(f"{score[group].mean():.4g}") for group in groups),
        errors_mm=tuple(float(f"{mean:.4g}") for mean in means),
        doubtful_mm=0.0,
        bones_mm=bones_mm,
    )
    expected = knots.expected_error(xyz, spread, layout).mean(axis=1)
    threshold = _best_threshold(expected, errors.mean(axis=1) > BAD_JOINT)
    return dataclasses.replace(knots, doubtful_mm=round(threshold, 2))


def _best_threshold(expected: np.ndarray, wrong: np.ndarray) -> float:
    """Return the threshold on expected errors (N,) that classifies `wrong` poses (N,) bool with the fewest mistakes."""
    order = expected.argsort()
    mistakes = np.cumsum(np.append(0, wrong[order])) + np.append(np.cumsum(~wrong[order][::-1])[::-1], 0)
    return float(np.append(0.0, expected[order])[mistakes.argmin()])  # the largest expected error below it
