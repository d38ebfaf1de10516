"""How far predicted joints are from true ones. Pure numpy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from handpose.errors import HandPoseError


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Joint errors of one set of predictions.

    Attributes:
        errors: (N, J) mm, distance of each predicted joint from the true one; infinite where there is no
            prediction.
    """

    errors: np.ndarray

    @classmethod
    def of(cls, predicted: np.ndarray, truth: np.ndarray) -> Evaluation:
        """The evaluation of joints (N, J, 3) in mm against the true ones; a frame with NaN has no prediction."""
        if predicted.shape != truth.shape or truth.ndim != 3:
            raise HandPoseError(f"expected predictions of the truth's shape {truth.shape}, got {predicted.shape}")
        errors = np.linalg.norm(predicted - truth, axis=-1)
        return cls(np.where(np.isnan(errors), np.inf, errors))

    @property
    def predicted(self) -> np.ndarray:
        """Which frames (N,) have a prediction."""
        frames: np.ndarray = np.isfinite(self.errors).all(axis=1)
        return frames

    @property
    def mean(self) -> float:
        """Mean joint error over the frames with a prediction, mm."""
        return float(self.errors[self.predicted].mean())

    @property
    def median(self) -> float:
        """Median joint error over all frames, mm."""
        return float(np.median(self.errors))

    def success_rate(self, threshold: float) -> float:
        """Share of all frames whose worst joint is within `threshold` mm."""
        return float((self.errors.max(axis=1) <= threshold).mean())

    def to_dict(self) -> dict[str, Any]:
        """The numbers by name."""
        return {
            "frames": len(self.errors),
            "no_hand": int((~self.predicted).sum()),
            "mean_mm": round(self.mean, 2) if self.predicted.any() else None,
            "median_mm": round(self.median, 2) if np.isfinite(self.median) else None,
            **{f"success_{t}mm": round(self.success_rate(t), 4) for t in (10, 20, 30, 40)},
        }
