"""Outputs of the pose network that tell what a patch shows."""

from __future__ import annotations

import torch

from handpose.network.config import JGRP2OConfig
from handpose.training.head_outputs import HeadData, Outputs

CONFIG = JGRP2OConfig("icvl", features=8)


def outputs(*shape: int, generator: torch.Generator) -> Outputs:
    features = 3.0 + 2.0 * torch.randn(*shape, 2, 16, 8, generator=generator)
    uvz, spread = torch.rand(2, *shape, 16, 3, generator=generator)
    return Outputs(features, uvz, spread)


def planted(hands: int, seed: int) -> HeadData:
    """Return outputs in which two channels of each joint tell something, plus noise.

    One channel is 0.5 higher for right hands, and 0.5 lower for left ones. Another one is 0.5 higher for hands, and 0.5
    lower for other things.
    """
    generator = torch.Generator().manual_seed(seed)
    both, others = outputs(hands, 2, generator=generator), outputs(hands // 2, generator=generator)
    both.features[..., 5] += torch.tensor([0.5, -0.5])[:, None, None]
    both.features[..., 3] += 0.5
    others.features[..., 3] -= 0.5
    return HeadData(*(Outputs(*(tensor.half() for tensor in part)) for part in (both, others)))
