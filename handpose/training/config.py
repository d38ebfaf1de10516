"""How a training runs."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal

from handpose.network.losses import OFFSET_WEIGHT, WEIGHT_DECAY


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """How to train; the defaults are what trains best on rendered hands.

    Attributes:
        steps: length of the whole training; the learning rate's schedule is laid over it.
        batch: crops per step, over all processes.
        learning_rate: Adam's peak rate.
        schedule: `cosine`: warmed up over the first 3 % of the steps, then decayed as a cosine;
            `exponential`: times 0.96 after every epoch (paper, section 4.1).
        epoch: steps per epoch, for `exponential`.
        weight_decay: L2 penalty on kernels and BatchNorm gammas.
        offset_weight: of the loss on every pixel's offsets (paper, section 3.4).
        clip: largest norm of the gradient.
        precision: of the convolutions' arithmetic.
        average: decay per step of the weight average that is evaluated and kept; 0 keeps the weights themselves.
        validate_every: steps between checkpoints, each with a validation.
        seed: of weights and of everything drawn.
    """

    steps: int
    batch: int = 32
    learning_rate: float = 1.2e-3
    schedule: Literal["cosine", "exponential"] = "cosine"
    epoch: int = 1
    weight_decay: float = 0.0
    offset_weight: float = OFFSET_WEIGHT
    clip: float = 200.0
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    average: float = 0.998
    validate_every: int = 500
    seed: int = 0

    def rate(self, step: int) -> float:
        """The learning rate of a step."""
        if self.schedule == "exponential":
            return self.learning_rate * 0.96 ** (step // self.epoch)
        progress = step / self.steps
        return self.learning_rate * min(1.0, progress / 0.03 + 0.01) * 0.5 * (1.0 + math.cos(math.pi * progress))

    def settings(self) -> dict[str, Any]:
        """The fields that the weights after some number of steps depend on, by name."""
        # An exponential schedule has no end, a cosine has no epochs.
        without = {"validate_every", "steps" if self.schedule == "exponential" else "epoch"}
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in without}


PAPER_EPOCHS = {"icvl": 8, "nyu": 58, "msra": 58}
"""How often the paper goes through each data set."""


def paper_recipe(layout: str, frames: int, seed: int = 0) -> TrainingConfig:
    """The paper's settings (section 4.1) for a data set with that layout and so many training frames."""
    batch = 32
    epoch = max(1, frames // batch)
    return TrainingConfig(
        steps=PAPER_EPOCHS[layout] * epoch,
        batch=batch,
        learning_rate=1e-4,
        schedule="exponential",
        epoch=epoch,
        weight_decay=WEIGHT_DECAY,
        clip=math.inf,
        precision="float32",
        average=0.0,
        validate_every=epoch,
        seed=seed,
    )
