"""Calibrating a network: what its doubts mean in mm, measured on rendered images that are in no other set."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from handpose.errors import WeightsError
from handpose.geometry.bones import bone_lengths
from handpose.geometry.layouts import JointLayout
from handpose.inference.estimator import HandPoseEstimator
from handpose.io.depth.units import DepthUnitWarning
from handpose.network.calibration import BAD_JOINT, Calibration, uncertainty_features
from handpose.runtimes.select import load_runtime
from handpose.synthetic.testset import synthetic_validation
from handpose.weights.folder import CONFIG_FILE, write_config
from handpose.weights.resolve import find_weights

_GROUPS = (0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98)  # between these shares of the joints, by doubt, lies a knot each
_LEAST_ERROR = 0.5  # mm: keeps lucky joints from counting as much as all others


def calibrate(
    folder: Path, frames: int, device: str, *, on_frame: Callable[[int], None] = lambda frame: None
) -> Calibration:
    """The calibration of the weights in a model folder, once it is written into its `config.json`.

    Args:
        folder: of the model.
        frames: how many validation images.
        device: where the network runs.
        on_frame: called after every image with its number.

    Raises:
        WeightsError: the folder holds no model, or the file cannot be written.
    """
    if not folder.is_dir():
        raise WeightsError(f"{folder}: no such folder; expected one with {CONFIG_FILE} to write the calibration into")
    weights = find_weights(folder)
    config = dataclasses.replace(weights.config, calibration=None)  # an old one must not sway the new one
    weights = dataclasses.replace(weights, config=config)
    estimator = HandPoseEstimator(load_runtime(weights, "auto", device), config, weights.name, weights.sha256)
    xyz, spread, truth = [], [], []
    for number, (depth, camera, joints) in enumerate(synthetic_validation(estimator.layout, frames), 1):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DepthUnitWarning)  # these are millimetres, however near something stands
            pose = estimator.predict(depth, camera=camera)
        if pose.status != "no_hand":
            xyz.append(pose.xyz)
            spread.append(pose.spread)
            truth.append(joints)
        on_frame(number)
    calibration = fit_calibration(np.array(xyz), np.array(spread), np.array(truth), estimator.layout)
    write_config(folder, dataclasses.replace(config, calibration=calibration))
    return calibration


def fit_calibration(xyz: np.ndarray, spread: np.ndarray, truth: np.ndarray, layout: JointLayout) -> Calibration:
    """The calibration that fits predictions best: exponents by least squares of the errors' logarithms, knots by means.

    A sign of doubt whose exponent comes out below 0 is left out: doubt must not lower the expected error.

    Args:
        xyz: (N, J, 3) predicted joints, mm.
        spread: (N, J, 3) of their votes, mm.
        truth: (N, J, 3) true joints, mm.
        layout: of the joints.

    Raises:
        WeightsError: errors do not grow with the signs of doubt.
    """
    errors = np.linalg.norm(xyz - truth, axis=-1)
    bones_mm = tuple(np.median(bone_lengths(truth, layout), axis=0).round(2).tolist())
    signs = uncertainty_features(xyz, spread, bones_mm, layout).reshape(errors.size, -1)
    logarithms = np.log(np.maximum(errors.ravel(), _LEAST_ERROR))
    powers, used = np.zeros(signs.shape[1]), list(range(signs.shape[1]))
    while used and not powers.any():
        design = np.column_stack([signs[:, used], np.ones(errors.size)])
        found = np.linalg.lstsq(design, logarithms, rcond=None)[0][:-1]
        if (found > 0.0).all():
            powers[used] = found
        used = [sign for sign, power in zip(used, found, strict=True) if power > 0.0]
    if not powers.any():
        raise WeightsError("errors do not grow with doubt: more frames are needed, or these weights are not trained")
    doubt, joint_errors = np.exp(signs @ powers), errors.ravel()
    groups = np.split(doubt.argsort(), [round(share * errors.size) for share in _GROUPS])
    # More doubt must not lower the expected error, even where chance has it so.
    means = np.maximum.accumulate([joint_errors[group].mean() for group in groups])
    joint, hand, bone = powers.round(4).tolist()
    knots = Calibration(
        joint,
        hand,
        bone,
        doubts=tuple(float(f"{doubt[group].mean():.4g}") for group in groups),
        errors_mm=tuple(float(f"{mean:.4g}") for mean in means),
        doubtful_mm=0.0,
        bones_mm=bones_mm,
    )
    expected = knots.expected_error(xyz, spread, layout).mean(axis=1)
    doubtful = _best_threshold(expected, errors.mean(axis=1) > BAD_JOINT)
    return dataclasses.replace(knots, doubtful_mm=round(doubtful, 2))


def _best_threshold(doubt: np.ndarray, wrong: np.ndarray) -> float:
    """The threshold above which `doubt` (N,) tells which poses are `wrong` (N,) with fewest mistakes."""
    order = doubt.argsort()
    mistakes = np.cumsum(np.append(0, wrong[order])) + np.append(np.cumsum(~wrong[order][::-1])[::-1], 0)
    return float(np.append(0.0, doubt[order])[mistakes.argmin()])  # the largest doubt that passes
