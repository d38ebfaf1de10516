"""The paper's training loss and the offset targets it needs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from handpose.network.model import StackOutput, pixel_grid

HUBER_DELTA = 0.01
OFFSET_WEIGHT = 1e-4
WEIGHT_DECAY = 5e-5


def offset_targets(uvz: Tensor, patches: Tensor) -> Tensor:
    """The offsets (N, 3, J, H*W) that lead every pixel of the grid to every joint: the inverse of the decode.

    Args:
        uvz: joints (N, J, 3), normalised.
        patches: the patches (N, 1, 96, 96) they belong to.
    """
    return uvz.transpose(1, 2)[..., None] - pixel_grid(patches)


def pose_loss(outputs: list[StackOutput], uvz: Tensor, patches: Tensor, offset_weight: float = OFFSET_WEIGHT) -> Tensor:
    """The paper's loss (section 3.4): Huber on the joints and, lightly, on every offset, for every stack.

    Summed over joints, axes and the batch, as in the original. Weight decay is `regularisation`.
    """
    targets = offset_targets(uvz, patches)
    total = uvz.new_zeros(())
    for output in outputs:
        total = total + F.huber_loss(output.uvz, uvz, reduction="sum", delta=HUBER_DELTA)
        total = total + offset_weight * F.huber_loss(output.offsets, targets, reduction="sum", delta=HUBER_DELTA)
    return total


def decayed_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The parameters under weight decay: kernels and BatchNorm scales, no bias and no BatchNorm shift."""
    return [parameter for name, parameter in model.named_parameters() if name.endswith("weight")]


def regularisation(model: nn.Module) -> Tensor:
    """The paper's L2 term: half of `WEIGHT_DECAY` times the sum of squares of `decayed_parameters`."""
    return 0.5 * WEIGHT_DECAY * torch.stack([p.square().sum() for p in decayed_parameters(model)]).sum()
