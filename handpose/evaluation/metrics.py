"""Errors of predicted joints."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from handpose.errors import HandPoseError
from handpose.geometry.layouts import JointLayout

SUCCESS_THRESHOLDS = (10, 20, 30, 40)
"""Thresholds of the reported success rates in mm."""
CURVE_LIMIT = 80
"""Last threshold of the success rate curve in mm."""
_BOOTSTRAP_SAMPLES = 2000
_MAX_RESAMPLED = 2_000_000  # values at a time, to bound the memory


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Joint errors of one set of predictions.

    A frame is missing if any of its joints has no prediction. Missing frames are excluded from all means, are failures
    in the success rate, and have infinite errors in the median and the 95th percentile. Joints without a label are
    excluded from everything.

    Attributes:
        offsets: (N, J, 3) predicted minus true joints in the camera frame, in mm; NaN at joints without a label,
            infinite in missing frames.
    """

    offsets: np.ndarray

    @classmethod
    def of(cls, predicted: np.ndarray, truth: np.ndarray, *, partial: bool = False) -> Evaluation:
        """Return the evaluation of predicted joints against true joints.

        Args:
            predicted: (N, J, 3) predicted joints in mm; a frame with NaN has no prediction.
            truth: (N, J, 3) true joints in mm.
            partial: Whether NaN marks true joints without a label; each frame must have at least one label.

        Raises:
            HandPoseError: The shapes differ, there are no frames, or a true joint is not finite.
        """
        if predicted.shape != truth.shape or truth.ndim != 3:
            raise HandPoseError(
                f"expected predictions of shape {truth.shape}, like the true joints, got {predicted.shape}"
            )
        if not len(truth):
            raise HandPoseError("expected at least one frame to evaluate, got none")
        finite = np.isfinite(truth).all(axis=2)
        unusable = np.flatnonzero(~(finite.any(axis=1) if partial else finite.all(axis=1)))
        if len(unusable):
            raise HandPoseError(
                f"expected finite true joints, got NaN or infinity in {len(unusable)} frames, the first is "
                f"{unusable[0]}; remove these frames from truth and predictions"
            )
        complete = np.isfinite(predicted).all(axis=(1, 2), keepdims=True)
        return cls(np.where(finite[..., None], np.where(complete, predicted - truth, np.inf), np.nan))

    @cached_property
    def errors(self) -> np.ndarray:
        """(N, J) distances between predicted and true joints in mm; NaN without a label, infinite in missing frames."""
        distances: np.ndarray = np.linalg.norm(self.offsets, axis=-1)
        return distances

    @cached_property
    def predicted(self) -> np.ndarray:
        """(N,) bool, whether a frame has a prediction."""
        frames: np.ndarray = ~np.isinf(self.errors).any(axis=1)
        return frames

    @property
    def missing(self) -> np.ndarray:
        """Zero-based indices of the frames without a prediction."""
        return np.flatnonzero(~self.predicted)

    @property
    def mean(self) -> float:
        """Mean joint error in mm over the frames with a prediction; NaN if there are none."""
        return _mean(self.errors[self.predicted])

    def mean_interval(self, seed: int = 0) -> tuple[float, float]:
        """Return the bootstrap 95% confidence interval of `mean` in mm: percentiles of the means of resampled frames.

        A frame counts as often as it has joints with a label, as in `mean`.
        Frames are treated as independent. The frames of a video are correlated, so their interval is too narrow.
        """
        errors = self.errors[self.predicted]
        if not len(errors):
            return math.nan, math.nan
        frames, labels = np.nanmean(errors, axis=1), (~np.isnan(errors)).sum(axis=1)
        weights = labels / labels.mean()  # exactly 1 if all joints have a label
        rng = np.random.default_rng(seed)
        chunk = max(1, _MAX_RESAMPLED // len(frames))
        means = []
        for start in range(0, _BOOTSTRAP_SAMPLES, chunk):
            drawn = rng.integers(len(frames), size=(min(chunk, _BOOTSTRAP_SAMPLES - start), len(frames)))
            means.append((frames * weights)[drawn].mean(axis=1) / weights[drawn].mean(axis=1))
        low, high = np.percentile(np.concatenate(means), (2.5, 97.5))
        return float(low), float(high)

    @property
    def median(self) -> float:
        """Median joint error in mm over all frames."""
        return float(np.median(self._labeled))

    @property
    def p95(self) -> float:
        """95th percentile of the joint errors in mm over all frames."""
        # np.percentile interpolates, which turns the infinite errors of missing frames into NaN.
        rank = math.ceil(0.95 * self._labeled.size) - 1
        return float(np.partition(self._labeled, rank)[rank])

    @property
    def _labeled(self) -> np.ndarray:
        labeled: np.ndarray = self.errors[~np.isnan(self.errors)]
        return labeled

    @property
    def per_joint(self) -> np.ndarray:
        """(J,) mean error of each joint in mm."""
        return np.array([_mean(errors) for errors in self.errors[self.predicted].T])

    def per_finger(self, layout: JointLayout) -> dict[str, float]:
        """Return the mean error of each finger in mm; `palm` contains the joints of no finger, including the wrist."""
        members = layout.fingers
        fingers = {joint for joints in members.values() for joint in joints}
        members["palm"] = tuple(joint for joint in range(len(layout)) if joint not in fingers)
        errors = self.errors[self.predicted]
        return {name: _mean(errors[:, list(joints)]) for name, joints in members.items()}

    @property
    def per_axis(self) -> np.ndarray:
        """(3,) mean absolute error along x, y and z in mm."""
        return np.array([_mean(np.abs(axis)) for axis in np.moveaxis(self.offsets[self.predicted], -1, 0)])

    @property
    def _several_labels(self) -> np.ndarray:
        """(N,) bool, whether a frame has a prediction and more than one label; the error of one is zero if centered."""
        frames: np.ndarray = self.predicted & ((~np.isnan(self.errors)).sum(axis=1) > 1)
        return frames

    @property
    def mean_centered(self) -> float:
        """Mean joint error in mm after shifting each prediction to the true mean of the joints.

        It excludes the error of the position of the whole hand, and frames in which only one joint has a label.
        """
        offsets = self.offsets[self._several_labels]
        return _mean(np.linalg.norm(offsets - np.nanmean(offsets, axis=1, keepdims=True), axis=-1))

    @property
    def mean_z_centered(self) -> float:
        """Mean joint error in mm after shifting each prediction along z to the true mean depth.

        It excludes frames in which only one joint has a label.
        """
        offsets = self.offsets[self._several_labels]
        shift = np.nanmean(offsets, axis=1, keepdims=True) * (0.0, 0.0, 1.0)
        return _mean(np.linalg.norm(offsets - shift, axis=-1))

    def success_rate(self, threshold: float) -> float:
        """Return the share of all frames whose worst joint is within `threshold` mm."""
        return float((self._worst <= threshold).mean())

    @property
    def _worst(self) -> np.ndarray:
        """(N,) error of the worst joint with a label in mm."""
        worst: np.ndarray = np.nanmax(self.errors, axis=1)
        return worst

    def success_curve(self, thresholds: np.ndarray) -> np.ndarray:
        """Return the success rates (T,) at thresholds (T,) in mm."""
        worst = np.sort(self._worst)
        return np.searchsorted(worst, thresholds, side="right") / len(worst)

    @property
    def auc(self) -> float:
        """Area under the success rate curve from 0 to 80 mm, normalized to 1."""
        # The curve is a step function with an exact integral: a frame with worst joint error w succeeds from w on.
        return float(np.clip(1.0 - self._worst / CURVE_LIMIT, 0.0, None).mean())

    def to_dict(self, layout: JointLayout | None = None) -> dict[str, Any]:
        """Return the metrics by name, None if undefined; with a layout, including its fingers and joints."""
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
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else math.nan  # numpy warns about empty means


def _rounded(value: float) -> float | None:
    return round(float(value), 3) if math.isfinite(value) else None
