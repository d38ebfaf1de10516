"""What `handpose predict` was asked for, once its options are read."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from handpose.version import __version__

if TYPE_CHECKING:
    from handpose.geometry.camera import Camera
    from handpose.inference.estimator import HandPoseEstimator
    from handpose.inference.query import Box, HandOrAuto
    from handpose.io.depth.units import DepthUnit
    from handpose.runtimes.base import BackendName


@dataclass(frozen=True)
class PredictJob:
    """The options of `handpose predict` that do not depend on what does the work.

    Attributes:
        inputs: what to predict, as given.
        output: a path or URL, or none for stdout.
        center: as given: `X,Y,Z` or a file of centres.
        y_up: the y axis of a file of centres points up.
        model: as in `HandPoseEstimator.from_pretrained`, like `device` and `backend`.
        camera: as in `HandPoseEstimator.predict`, like `box`, `hand` and `unit`.
        batch_size: images per pass through the network.
        force: overwrite results that are there.
        resume: go on with results that are there.
    """

    inputs: list[str]
    output: str | None
    center: str | None
    y_up: bool
    box: Box | None
    model: str
    device: str
    backend: BackendName
    camera: Camera | None
    hand: HandOrAuto
    unit: DepthUnit
    batch_size: int
    force: bool
    resume: bool

    def settings(self, estimator: HandPoseEstimator, **more: str | None) -> dict[str, Any]:
        """All that the records depend on, as JSON's types: a job is gone on with only where it is the same."""
        return {
            "handpose": __version__,
            "model": estimator.name,
            "sha256": estimator.sha256,
            "backend": self.backend,
            "camera": self.camera and self.camera.to_dict(),
            "unit": self.unit,
            "hand": self.hand,
            "center": [_centre_setting(self.center), self.y_up],
            "box": self.box,
            **more,
        }


def _centre_setting(text: str | None) -> str | None:
    """What `--center` says, or its file's sha256."""
    if text is None or not Path(text).is_file():
        return text
    return hashlib.sha256(Path(text).read_bytes()).hexdigest()
