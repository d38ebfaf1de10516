"""How far predicted joints are from true ones. Pure numpy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from handpose.errors import HandPoseError
from handpose.geometry.layouts import JointLayout

SUCCESS_THRESHOLDS = (10, 20, 30, 40)
"""Where the success rate is reported, mm."""
CURVE_LIMIT = 80
"""Where the success-rate curve ends, mm."""
_RESAMPLES = 2000


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Joint errors of one set of predictions.

    A frame is missing as a whole where one of its joints has no prediction. Missing frames stay out of all means,
    are failures in the success rate, and count as infinitely wrong in the median and the 95th percentile.

    Attributes:
        offsets: (N, J, 3) mm, predicted minus true joints in the camera's frame; NaN in missing frames.
    """

    offsets: np.ndarray

    @classmethod
    def of(cls, predicted: np.ndarray, truth: np.ndarray) -> Evaluation:
        """The evaluation of joints (N, J, 3) in mm against the true ones; a frame with NaN has no prediction.

        Raises:
            HandPoseError: the shapes differ, there is no frame, or a true joint is not a finite number.
        """
        if predicted.shape != truth.shape or truth.ndim != 3:
            raise HandPoseError(f"expected predictions of the truth's shape {truth.shape}, got {predicted.shape}")
        if not len(truth):
            raise HandPoseError("expected at least one frame to evaluate, got none")
        unusable = np.flatnonzero(~np.isfinite(truth).all(axis=(1, 2)))
        if len(unusable):
            raise HandPoseError(
                f"expected finite true joints, got NaN or infinity in {len(unusable)} frames, the first is "
                f"{unusable[0]}; leave them out of truth and predictions"
            )
        there = np.isfinite(predicted).all(axis=(1, 2), keepdims=True)
        return cls(np.where(there, predicted, np.nan) - truth)

    @cached_property
    def errors(self) -> np.ndarray:
        """Distance (N, J) of each predicted joint from the true one, mm; infinite in missing frames."""
        distances: np.ndarray = np.linalg.norm(self.offsets, axis=-1)
        return np.where(np.isnan(distances), np.inf, distances)

    @cached_property
    def predicted(self) -> np.ndarray:
        """Which frames (N,) have a prediction."""
        frames: np.ndarray = np.isfinite(self.errors).all(axis=1)
        return frames

    @property
    def missing(self) -> np.ndarray:
        """Numbers of the frames without a prediction, counted from 0."""
        return np.flatnonzero(~self.predicted)

    @property
    def mean(self) -> float:
        """Mean joint error over the frames with a prediction, mm; NaN if there are none."""
        return _mean(self.errors[self.predicted])

    def mean_interval(self, seed: int = 0) -> tuple[float, float]:
        """The bootstrap 95 % confidence interval of `mean`, mm: percentiles of the means of resampled frames.

        Frames are drawn as if they were independent. Those of a video are not: the interval is then too narrow.
        """
        frames = self.errors[self.predicted].mean(axis=1)
        if not len(frames):
            return math.nan, math.nan
        rng = np.random.default_rng(seed)
        chunk = max(1, 2_000_000 // len(frames))  # bounds the memory, whatever the number of frames
        means = [
            frames[rng.integers(len(frames), size=(min(chunk, _RESAMPLES - start), len(frames)))].mean(axis=1)
            for start in range(0, _RESAMPLES, chunk)
        ]
        low, high = np.percentile(np.concatenate(means), (2.5, 97.5))
        return float(low), float(high)

    @property
    def median(self) -> float:
        """Median joint error over all frames, mm."""
        return float(np.median(self.errors))

    @property
    def p95(self) -> float:
        """The smallest distance that 95 % of all joints are within, mm."""
        # Not np.percentile: it interpolates, and makes NaN of the infinities of missing frames.
        rank = math.ceil(0.95 * self.errors.size) - 1
        return float(np.partition(self.errors, rank, axis=None)[rank])

    @property
    def per_joint(self) -> np.ndarray:
        """Mean error (J,) of each joint, mm."""
        return np.array([_mean(errors) for errors in self.errors[self.predicted].T])

    def per_finger(self, layout: JointLayout) -> dict[str, float]:
        """Mean error of each finger's joints, mm; `palm` are the joints of no finger, the wrist among them."""
        members = layout.fingers
        fingers = {joint for joints in members.values() for joint in joints}
        members["palm"] = tuple(joint for joint in range(len(layout)) if joint not in fingers)
        return {name: _mean(self.per_joint[list(joints)]) for name, joints in members.items()}

    @property
    def per_axis(self) -> np.ndarray:
        """Mean absolute error (3,) along x, y and z, mm."""
        return np.array([_mean(np.abs(axis)) for axis in np.moveaxis(self.offsets[self.predicted], -1, 0)])

    @property
    def mean_centered(self) -> float:
        """Mean joint error once each frame's prediction is shifted so that its joints' mean is the true one, mm.

        What is left is the error of the pose alone, without that of the hand's place.
        """
        offsets = self.offsets[self.predicted]
        return _mean(np.linalg.norm(offsets - offsets.mean(axis=1, keepdims=True), axis=-1))

    @property
    def mean_z_centered(self) -> float:
        """Mean joint error once each frame's prediction is shifted along z to the true mean depth, mm."""
        offsets = self.offsets[self.predicted]
        shift = offsets.mean(axis=1, keepdims=True) * (0.0, 0.0, 1.0)
        return _mean(np.linalg.norm(offsets - shift, axis=-1))

    def success_rate(self, threshold: float) -> float:
        """Share of all frames whose worst joint is within `threshold` mm."""
        return float((self.errors.max(axis=1) <= threshold).mean())

    def success_curve(self, thresholds: np.ndarray) -> np.ndarray:
        """`success_rate` (T,) at each of the thresholds (T,) in mm."""
        worst = np.sort(self.errors.max(axis=1))
        return np.searchsorted(worst, thresholds, side="right") / len(worst)

    @property
    def auc(self) -> float:
        """Area under the success-rate curve from 0 to 80 mm, as a share of the whole (0 to 1)."""
        # The integral of a step function is exact: a frame of worst joint w succeeds from w to the end.
        return float(np.clip(1.0 - self.errors.max(axis=1) / CURVE_LIMIT, 0.0, None).mean())

    def to_dict(self, layout: JointLayout | None = None) -> dict[str, Any]:
        """The numbers by name, None where there is none; with a layout also those of its joints and fingers."""
        low, high = self.mean_interval()
        values: dict[str, Any] = {
            "frames": len(self.errors),
            "no_hand": len(self.missing),
            "mean_mm": _rounded(self.mean),
            "mean_interval95_mm": [_rounded(low), _rounded(high)],
            "median_mm": _rounded(self.median),
            "p95_mm": _rounded(self.p95),
            **{f"success_{t}mm": round(self.success_rate(t), 4) for t in SUCCESS_THRESHOLDS},
            f"auc_{CURVE_LIMIT}mm": round(self.auc, 4),
            **{f"{axis}_mm": _rounded(value) for axis, value in zip("xyz", self.per_axis, strict=True)},
            "z_centered_mm": _rounded(self.mean_z_centered),
            "centered_mm": _rounded(self.mean_centered),
        }
        if layout is not None:
            joints = zip(layout.joints, self.per_joint, strict=True)
            values["per_finger_mm"] = {name: _rounded(value) for name, value in self.per_finger(layout).items()}
            values["per_joint_mm"] = {name: _rounded(value) for name, value in joints}
        values["no_hand_frames"] = self.missing.tolist()
        return values


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else math.nan  # numpy warns of empty means


def _rounded(value: float) -> float | None:
    return round(float(value), 3) if math.isfinite(value) else None
