"""Evaluation of an estimator on the synthetic test images."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from handpose.evaluation.metrics import Evaluation
from handpose.inference.estimator import HandPoseEstimator
from handpose.io.progress import track
from handpose.io.warn import collect_warnings
from handpose.synthetic.testset import synthetic_testset


class SyntheticResult(NamedTuple):
    """Joint errors on the synthetic test images.

    Attributes:
        localized: Errors with localized hands; images in which no hand was found have no prediction.
        given: Errors with the mean of the true joints as the hand center.
    """

    localized: Evaluation
    given: Evaluation


def evaluate_synthetic(estimator: HandPoseEstimator, frames: int) -> SyntheticResult:
    """Return the joint errors on the first `frames` synthetic test images."""
    localized, given, truth = [], [], []
    images = synthetic_testset(estimator.layout, frames)
    for depth, camera, xyz in track(images, f"evaluating {estimator.name}", frames):
        with collect_warnings([]):  # about images of users, whose camera and unit may be wrong
            localized.append(estimator.predict(depth, camera=camera, hand="right").xyz)
            given.append(estimator.predict(depth, camera=camera, center=xyz.mean(axis=0), hand="right").xyz)
        truth.append(xyz)
    return SyntheticResult(*(Evaluation.of(np.array(xyz), np.array(truth)) for xyz in (localized, given)))
