"""A model's errors on rendered images."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np

from handpose.evaluation.metrics import Evaluation
from handpose.inference.estimator import HandPoseEstimator
from handpose.io.depth.units import DepthUnitWarning
from handpose.synthetic.testset import synthetic_testset


class SyntheticResult(NamedTuple):
    """Joint errors on the test set.

    Attributes:
        found: with crops around the hand that `localize_hands` finds; where it finds none, there is no prediction.
        given: with crops around the middle of the true joints.
    """

    found: Evaluation
    given: Evaluation


def evaluate_synthetic(estimator: HandPoseEstimator, frames: int) -> SyntheticResult:
    """The estimator's joint errors on the first `frames` images of the test set."""
    found, given, truth = [], [], []
    for depth, camera, xyz in synthetic_testset(estimator.layout, frames):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DepthUnitWarning)  # these are millimetres, however near something stands
            found.append(estimator.predict(depth, camera=camera).xyz)
            given.append(estimator.predict(depth, camera=camera, center=xyz.mean(axis=0)).xyz)
        truth.append(xyz)
    return SyntheticResult(*(Evaluation.of(np.array(xyz), np.array(truth)) for xyz in (found, given)))
