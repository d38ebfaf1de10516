"""Calibration of the expected joint error, on synthetic images that are in no other set."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from handpose.errors import WeightsError
from handpose.geometry.bones import bone_lengths
from handpose.geometry.layouts import JointLayout
from handpose.inference.estimator import HandPoseEstimator
from handpose.inference.query import Query
from handpose.inference.refine import least_uncertain
from handpose.io.progress import track
from handpose.network.calibration import MIN_APART, Calibration, passes_feature, uncertainty_features
from handpose.runtimes.select import load_runtime
from handpose.synthetic.testset import synthetic_validation
from handpose.weights.folder import CONFIG_FILE, write_config
from handpose.weights.resolve import find_weights

_QUANTILES = (0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98)  # of the uncertainty, with a knot between two of them
_MIN_ERROR = 0.5  # mm; without it, joints that are accurate by chance would dominate the fit of the logarithms
_PRELIMINARY = 4  # one in so many images is used for a first calibration, which decides which poses are refined


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
    runtime = load_runtime(dataclasses.replace(weights, config=config), "auto", device)
    heads = weights.heads()

    def predictions(calibration: Calibration | None, count: int, what: str) -> list[Predictions]:
        calibrated = dataclasses.replace(config, calibration=calibration)
        estimator = HandPoseEstimator(runtime, calibrated, weights.name, weights.sha256, heads=heads)
        return _predict_validation(estimator, count, f"{what} {weights.name}")

    layout = config.joint_layout
    first, _ = predictions(None, math.ceil(frames / _PRELIMINARY), "first passes of")
    first, used = predictions(fit_first_pass(first, layout), frames, "calibrating")
    calibration = fit_passes(fit_first_pass(first, layout), used, layout)
    write_config(folder, dataclasses.replace(config, calibration=calibration))
    return calibration


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions and their truth.

    Attributes:
        xyz: (N, J, 3) predicted joints in mm.
        spread: (N, J, 3) vote spread in mm.
        apart: (N, J) distance to other passes in mm, see `least_uncertain`; NaN where it is None.
        truth: (N, J, 3) true joints in mm.
    """

    xyz: np.ndarray
    spread: np.ndarray
    apart: np.ndarray
    truth: np.ndarray

    @property
    def errors(self) -> np.ndarray:
        """(N, J) joint errors in mm."""
        distances: np.ndarray = np.linalg.norm(self.xyz - self.truth, axis=-1)
        return distances

    def expected(self, calibration: Calibration, layout: JointLayout) -> np.ndarray:
        """Return the expected joint errors (N, J) in mm."""
        single = calibration.expected_error(self.xyz, self.spread, layout)
        several = calibration.expected_error(self.xyz, self.spread, layout, apart=np.nan_to_num(self.apart))
        return np.where(np.isnan(self.apart), single, several)


def _predict_validation(estimator: HandPoseEstimator, frames: int, what: str) -> list[Predictions]:
    """Return the predictions of the first pass in validation images, and those that are used: after refinement."""
    first: list[tuple[np.ndarray, ...]] = []
    used: list[tuple[np.ndarray, ...]] = []
    for depth, camera, truth in track(synthetic_validation(estimator.layout, frames), what, frames):
        (passes,) = estimator.passes([[estimator.find(depth, Query(camera, hand="right"))]])
        if passes[0].status != "no_hand":
            for results, poses in ((first, passes[:1]), (used, passes)):
                pose, apart = least_uncertain(poses)
                single = np.full(len(truth), np.nan)
                results.append((pose.xyz, pose.spread, single if apart is None else apart, truth))
    return [Predictions(*map(np.array, zip(*results, strict=True))) for results in (first, used)]


def fit_first_pass(predictions: Predictions, layout: JointLayout) -> Calibration:
    """Return the calibration that fits predictions of a single pass best.

    Least squares on the logarithms of the errors give the exponents, and mean errors give the knots. Features with a
    negative exponent are excluded, because the expected error must not decrease as the uncertainty increases.

    Raises:
        WeightsError: The errors do not increase with any of the features.
    """
    xyz, spread, errors = predictions.xyz, predictions.spread, predictions.errors
    bones_mm = tuple(np.median(bone_lengths(predictions.truth, layout), axis=0).round(2).tolist())
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
    return Calibration(
        joint,
        hand,
        bone,
        doubts=tuple(float(f"{score[group].mean():.4g}") for group in groups),
        errors_mm=tuple(float(f"{mean:.4g}") for mean in means),
        bones_mm=bones_mm,
    )


def fit_passes(calibration: Calibration, used: Predictions, layout: JointLayout) -> Calibration:
    """Return the calibration of a single pass with the influence of further passes added.

    Least squares on the logarithms give the exponent, and the mean error of the refined poses the neutral distance.

    Args:
        calibration: Calibration of a single pass.
        used: The poses that are used, of which some are refined.
        layout: Layout of the joints.
    """
    several = ~np.isnan(used.apart)
    if several.any():
        expected, errors = used.expected(calibration, layout)[several], used.errors[several]
        feature = passes_feature(used.apart[several])
        logarithms = np.log(np.maximum(errors, _MIN_ERROR) / expected)
        power = np.linalg.lstsq(np.column_stack([feature, np.ones(errors.size)]), logarithms, rcond=None)[0][0]
        if power > 0.0:
            scale = errors.sum() / (expected * np.exp(power * feature)).sum()
            neutral = max(scale ** (-1.0 / power) - MIN_APART, 0.0)
            calibration = dataclasses.replace(
                calibration, passes=round(float(power), 4), passes_mm=round(float(neutral), 2)
            )
    return calibration
