"""The task of tuning weights on real and synthetic crops, and its settings."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor

from handpose.datasets.dataset import HandDataset
from handpose.errors import HandPoseError
from handpose.network.model import JGRP2O
from handpose.training.config import TrainingConfig
from handpose.training.mixed_crops import MixedCrops
from handpose.training.on_real import dataset_task
from handpose.training.on_synthetic import synthetic_task
from handpose.training.pose_task import PoseTask
from handpose.weights.folder import Weights

HELD_OUT = 0.2
"""Share of the frames that are held out, to stop the training and to measure the result."""

CALIBRATION_IMAGES = 400
"""Number of synthetic images that the expected errors of the new weights are calibrated on."""

_SYNTHETIC_SHARE = 0.5
_BATCH = 32
_STEPS_PER_FRAME, _MIN_STEPS, _MAX_STEPS = 4, 400, 2000
_VALIDATIONS, _MIN_INTERVAL = 10, 50  # number per training, and minimum number of steps between them
_SYNTHETIC_CROPS = 300  # for validation


def tuning_config(frames: int, steps: int | None = None, seed: int = 1) -> TrainingConfig:
    """Return the settings for this number of training frames."""
    steps = min(max(_STEPS_PER_FRAME * frames, _MIN_STEPS), _MAX_STEPS) if steps is None else steps
    return TrainingConfig(
        steps,
        batch=_BATCH,
        # A quarter of the peak rates of the initial training.
        learning_rate=0.005,
        adam_rate=3e-4,
        average=0.99,
        # The statistics of batches in which half of the crops are real would change those of synthetic crops at once.
        frozen_statistics=True,
        validate_every=max(_MIN_INTERVAL, math.ceil(steps / _VALIDATIONS)),
        seed=seed,
    )


@dataclass(frozen=True, eq=False)
class TuningTask(PoseTask):
    """The task of training on real and synthetic crops.

    Attributes:
        synthetic: Synthetic patches (N, 1, 96, 96) and joints (N, J, 3) for validation, both normalized.
    """

    synthetic: tuple[Tensor, Tensor] | None = None

    def validate(self, network: JGRP2O) -> dict[str, float]:
        """Return the metrics on the held-out frames, and `synthetic_mm`, the mean error on synthetic crops in mm."""
        metrics = super().validate(network)
        others = dataclasses.replace(self, validation=self.synthetic, synthetic=None, cubes=None)
        return {**metrics, "synthetic_mm": PoseTask.validate(others, network)["mean_mm"]}


@contextmanager
def tuning_task(
    start: Weights,
    config: TrainingConfig,
    dataset: HandDataset,
    held_out: HandDataset,
    *,
    device: str = "cpu",
    workers: int = 0,
    noise: bool = False,
) -> Iterator[TuningTask]:
    """Provide the task of tuning weights on a data set, and stop its worker processes afterward.

    Args:
        start: The weights.
        config: Training settings.
        dataset: Frames to train on.
        held_out: Frames for validation.
        device: Device of the network.
        workers: Number of processes that load images.
        noise: Whether half of the crops get the noise of a simulated sensor.

    Raises:
        HandPoseError: The joint layouts differ, or no frame is usable.
    """
    # The calibration is only valid for the initial weights.
    network = dataclasses.replace(start.config, calibration=None)
    with dataset_task(network, config, dataset, device, held_out=held_out, workers=workers, start=start) as real:
        rendered = synthetic_task(network, config)
        if rendered.validation is None:
            raise HandPoseError("the synthetic crops have no validation")
        patches, truth = (part[:_SYNTHETIC_CROPS].to(device) for part in rendered.validation)
        source = MixedCrops(real.source, rendered.source, _SYNTHETIC_SHARE, noise=noise)  # type: ignore[arg-type]
        yield TuningTask(
            network,
            config,
            source,
            real.validation,
            device,
            real.start,
            source.seek,
            real.cubes,
            synthetic=(patches, truth),
        )
