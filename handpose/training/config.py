"""Settings of a training run."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal, get_args

from handpose.io.arguments import check_choice
from handpose.io.choices import Optimizer
from handpose.network.losses import OFFSET_WEIGHT, WEIGHT_DECAY

Schedule = Literal["cosine", "exponential"]
TrainingPrecision = Literal["bfloat16", "float32"]

_PEAKS: dict[Optimizer, float] = {"muon": 0.02, "adam": 1.2e-3}


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """Settings of a training run; the defaults are those for synthetic hands.

    Attributes:
        steps: Total number of steps, over which the learning rate schedule extends.
        batch: Crops per step, over all processes.
        optimizer: `muon` trains the hidden kernels with Muon and all other parameters with Adam; `adam` trains all
            parameters with Adam.
        learning_rate: Peak learning rate of the optimizer; by default 0.02 for Muon and 1.2e-3 for Adam.
        adam_rate: Peak learning rate of the parameters that Adam trains if the optimizer is `muon`.
        schedule: `cosine`: warm-up over the first 3% of the steps, then cosine decay to zero;
            `exponential`: multiplied by 0.96 after every epoch (paper, section 4.1).
        epoch: Crops per epoch, for the exponential schedule.
        weight_decay: L2 penalty on the kernels and BatchNorm scales that Adam trains.
        offset_weight: Weight of the loss on the offsets of all pixels (paper, section 3.4).
        clip: Maximum norm of the gradient.
        precision: Precision of the convolutions.
        average: Decay per step of the moving average of the weights, which is validated and saved; 0 disables it.
        frozen_statistics: Whether BatchNorm keeps using the statistics of the initial weights instead of a batch's own.
        validate_every: Steps between validations, each of which saves a checkpoint.
        seed: Seed of the initial weights and of all random samples.
    """

    steps: int
    batch: int = 32
    optimizer: Optimizer = "muon"
    learning_rate: float | None = None
    adam_rate: float = _PEAKS["adam"]
    schedule: Schedule = "cosine"
    epoch: int = 1
    weight_decay: float = 0.0
    offset_weight: float = OFFSET_WEIGHT
    clip: float = 200.0
    precision: TrainingPrecision = "bfloat16"
    average: float = 0.998
    frozen_statistics: bool = False
    validate_every: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("optimizer", self.optimizer, get_args(Optimizer))
        check_choice("schedule", self.schedule, get_args(Schedule))
        check_choice("precision", self.precision, get_args(TrainingPrecision))

    @property
    def peak(self) -> float:
        """Peak learning rate of the optimizer."""
        return _PEAKS[self.optimizer] if self.learning_rate is None else self.learning_rate

    def scheduled(self, peak: float, step: int) -> float:
        """Return the learning rate at a step, for the given peak."""
        if self.schedule == "exponential":
            return peak * 0.96 ** (step * self.batch // self.epoch)
        progress = step / self.steps
        return peak * min(1.0, progress / 0.03 + 0.01) * 0.5 * (1.0 + math.cos(math.pi * progress))

    def to_dict(self) -> dict[str, Any]:
        """Return all fields by name, with the default learning rate filled in."""
        return dataclasses.asdict(self) | {"learning_rate": self.peak}

    def settings(self) -> dict[str, Any]:
        """Return the fields that determine the weights after a given number of steps, by name."""
        # The exponential schedule does not depend on the number of steps, and the cosine not on epochs.
        irrelevant = {"validate_every", "steps" if self.schedule == "exponential" else "epoch"}
        if self.optimizer == "adam":
            irrelevant.add("adam_rate")
        if not self.frozen_statistics:  # older checkpoints lack it
            irrelevant.add("frozen_statistics")
        return {name: value for name, value in self.to_dict().items() if name not in irrelevant}


PAPER_EPOCHS = {"icvl": 8, "nyu": 58, "msra": 58}
"""Number of training epochs in the paper, by data set."""


def paper_recipe(layout: str, frames: int, seed: int = 0, batch: int = 32) -> TrainingConfig:
    """Return the paper's settings (section 4.1) for a data set.

    An epoch is one pass over the frames, whose last batch may extend into the next pass.

    Args:
        layout: Joint layout of the data set.
        frames: Number of frames that are trained on.
        seed: Seed of the initial weights and of all random samples.
        batch: Crops per step; 32 in the paper.
    """
    return TrainingConfig(
        steps=math.ceil(PAPER_EPOCHS[layout] * frames / batch),
        batch=batch,
        optimizer="adam",
        learning_rate=1e-4,
        schedule="exponential",
        epoch=frames,
        weight_decay=WEIGHT_DECAY,
        clip=math.inf,
        precision="float32",
        average=0.0,
        validate_every=math.ceil(frames / batch),
        seed=seed,
    )
