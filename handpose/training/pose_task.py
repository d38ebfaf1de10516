"""Training of the pose network, and the model folder that results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from handpose.errors import HandPoseError
from handpose.io.progress import report as report_progress
from handpose.network.config import JGRP2OConfig
from handpose.network.distances import joint_errors
from handpose.network.losses import pose_loss
from handpose.network.model import JGRP2O
from handpose.training.checkpoint import load_part, load_state
from handpose.training.config import TrainingConfig
from handpose.weights.folder import has_weights, write_folder

_BATCH = 100
_SUCCESS_MM = 20.0


class CropSource(Protocol):
    """A source of training crops, whose only randomness is its generator."""

    generator: torch.Generator

    def batch(self, count: int) -> tuple[Tensor, Tensor]:
        """Return `count` patches (N, 1, 96, 96) and their joints (N, J, 3), both normalized."""


@dataclass(frozen=True, eq=False)
class PoseTask:
    """The task of training the pose network on crops, real or synthetic.

    Attributes:
        network: Configuration of the network.
        config: Training settings.
        source: Source of the training crops.
        validation: Patches (N, 1, 96, 96) and joints (N, J, 3), both normalized, that are used for validation; None
            for no validation.
        device: Device of the network and of the crops.
        start: State dict of the initial weights; random weights by default.
        seek: Called before every batch with the number of its first crop, for sources that pass through their crops.
        cubes: (N,) sides of the cubes of the validation crops, mm; by default, those of the network.
    """

    network: JGRP2OConfig
    config: TrainingConfig
    source: CropSource
    validation: tuple[Tensor, Tensor] | None
    device: str = "cpu"
    start: Mapping[str, Tensor] | None = None
    seek: Callable[[int], None] = lambda crop: None
    cubes: Tensor | None = None

    @property
    def model(self) -> dict[str, Any]:
        """Configuration of the network, as in `config.json`."""
        return self.network.to_dict()

    @property
    def generator(self) -> torch.Generator:
        """The generator of the crops."""
        return self.source.generator

    def build(self) -> JGRP2O:
        """Return the network with its initial weights."""
        network = JGRP2O(self.network)
        if self.start is not None:
            network.load_state_dict(self.start)
        return network

    def batch(self, count: int) -> tuple[Tensor, Tensor]:
        """Return `count` patches (N, 1, 96, 96) and their joints (N, J, 3), both normalized."""
        return self.source.batch(count)

    def loss(self, network: JGRP2O, inputs: Tensor, *targets: Tensor) -> Tensor:
        """Return the paper's loss, summed over the batch.

        Args:
            network: The network in training mode.
            inputs: Patches (N, 1, 96, 96).
            *targets: Their joints (N, J, 3), normalized.
        """
        (uvz,) = targets
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"):
            outputs = network.stack_outputs(inputs.to(memory_format=torch.channels_last))
        return pose_loss(outputs, uvz, inputs, self.config.offset_weight)

    @torch.no_grad()
    def validate(self, network: JGRP2O) -> dict[str, float]:
        """Return the mean and median joint errors in mm and the fraction of crops with all errors below 20 mm.

        Without validation crops, no metrics are returned.
        """
        if self.validation is None:
            return {}
        report_progress("validating")
        patches, truth = self.validation
        uvz = torch.cat([network(part)[0] for part in torch.split(patches, _BATCH)])
        known = ~truth.isnan()
        errors = joint_errors(uvz, torch.where(known, truth, uvz), self.network)  # only along what is labeled
        if self.cubes is not None:
            errors = errors * (self.cubes / self.network.cube)[:, None]
        labeled = errors[known.any(2)]
        within = (errors.amax(1) < _SUCCESS_MM).float().mean()
        return {"mean_mm": float(labeled.mean()), "median_mm": float(labeled.median()), "success_20mm": float(within)}


def write_model(run: str | Path, out: str | Path, *, force: bool = False) -> bool:
    """Write the averaged weights of a training run as a model folder, in float16, and return whether it was written.

    A model in an existing folder is replaced only with `force`. One that already has these weights is left as it is,
    with its calibration, its heads and its model card.

    Raises:
        HandPoseError: The run has no checkpoint, the folder contains a model, or the run has diverged or did not
            train the pose network.
    """
    run, out = Path(run), Path(out)
    state = load_state(run)
    if state is None:
        raise HandPoseError(f"{run}: no checkpoint here; expected the folder of a training run")
    config = JGRP2OConfig.from_dict(state["model"])
    tensors = load_part(run, "model")
    half = {name: value.half().numpy() for name, value in tensors.items() if not name.endswith("num_batches_tracked")}
    for name, values in half.items():
        if not np.isfinite(values).all():
            raise HandPoseError(f"{run}: the training has diverged: {name} contains values that float16 cannot store")
    if force and has_weights(out, config, half):
        return False
    write_folder(out, config, half, force=force)
    return True
