"""The options of a prediction job."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from handpose.version import __version__

if TYPE_CHECKING:
    from handpose.inference.estimator import HandPoseEstimator
    from handpose.inference.query import Query
    from handpose.io.choices import BackendName, Precision, Views
    from handpose.results.keypoint_records import KeypointFormat


@dataclass(frozen=True)
class PredictOptions:
    """How frames are predicted, in this process or by a worker of a cluster.

    Attributes:
        model: Name, model folder, exported file or Hub repository of the weights.
        query: Camera, unit and hand of all frames, and optionally one hand center or box for all of them.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, ...
        backend: Runtime of the network.
        batch_size: Frames per pass through the network.
        views: Rotated copies of each crop to average over: 1, 2 or 4.
        max_hands: Maximum number of hands per frame.
        precision: Precision of the network: `float32`, or `int8`, which is faster and slightly less accurate.
    """

    model: str | PathLike[str]
    query: Query
    device: str = "auto"
    backend: BackendName = "auto"
    batch_size: int = 16
    views: Views = 1
    max_hands: int = 1
    precision: Precision = "float32"

    def load_estimator(self, device: str | None = None) -> HandPoseEstimator:
        """Load the network, on another device if `device` is given.

        Raises:
            WeightsError: The weights do not exist, or cannot be downloaded or verified.
            HandPoseError: The device or backend is not available.
        """
        from handpose.inference.estimator import HandPoseEstimator

        return HandPoseEstimator.from_pretrained(
            self.model,
            device=device or self.device,
            backend=self.backend,
            precision=self.precision,
            views=self.views,
        )


def model_settings(estimator: HandPoseEstimator) -> dict[str, str]:
    """Return what is equal for all estimators that load the same model with the same version of this package."""
    return {
        "handpose": __version__,
        "model": estimator.name,
        "sha256": estimator.sha256,
        "calibration and heads": estimator.settings_sha256,
    }


@dataclass(frozen=True)
class PredictJob:
    """Inputs, output and options of a prediction job.

    Attributes:
        inputs: Files, folders, globs and, for a cluster, URLs, archives and tables.
        output: Path or URL of the results; None for stdout.
        options: How each frame is predicted.
        centers: File with one hand center per frame, instead of the center of `options.query`.
        y_up: Whether the y axis of `centers` points up.
        force: Overwrite existing results.
        resume: Keep existing results and predict only the remaining frames.
        topic: Topic of the depth images, if a ROS bag contains several.
        recursive: Include the subfolders of folders.
        keypoints: Format of the field `keypoints` of the records; None for records without it.
    """

    inputs: Sequence[str]
    output: str | None
    options: PredictOptions
    centers: Path | None = None
    y_up: bool = False
    force: bool = False
    resume: bool = False
    topic: str | None = None
    recursive: bool = False
    keypoints: KeypointFormat | None = None

    def settings(self, estimator: HandPoseEstimator, **more: str | None) -> dict[str, Any]:
        """Return all settings that affect the records, as JSON values.

        A job can only be resumed if these settings have not changed.
        """
        query = self.options.query
        center: object = None if query.center is None else list(query.center)
        if self.centers is not None:
            center = hashlib.sha256(self.centers.read_bytes()).hexdigest()
        return {
            **model_settings(estimator),
            "backend": self.options.backend,
            "views": self.options.views,
            "camera": query.camera and query.camera.to_dict(),
            "unit": query.unit,
            "hand": query.hand,
            "max_hands": self.options.max_hands,
            "center": [center, self.y_up],
            "box": query.box,
            "keypoints": self.keypoints and self.keypoints.settings(),
            "topic": self.topic,
            **more,
        }
