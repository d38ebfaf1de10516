"""The training loss of the paper, and its offset targets."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from handpose.network.model import StackOutput, pixel_grid

HUBER_DELTA = 0.01
OFFSET_WEIGHT = 1e-4
WEIGHT_DECAY = 5e-5


def offset_targets(uvz: Tensor, patches: Tensor) -> Tensor:
    """Return the offsets (N, 3, J, H*W) from every pixel of the grid to every joint.

    Args:
        uvz: (N, J, 3) joints, normalized.
        patches: (N, 1, 96, 96) the patches that show them.
    """
    return uvz.transpose(1, 2)[..., None] - pixel_grid(patches)


def pose_loss(outputs: list[StackOutput], uvz: Tensor, patches: Tensor, offset_weight: float = OFFSET_WEIGHT) -> Tensor:
    """Return the loss of the paper (section 3.4): Huber losses of the joints and of all offsets, for every stack.

    It is summed over joints, axes and the batch, as in the original. Weight decay is separate: see `regularization`.
    Where `uvz` is NaN, there is no label, so loss and gradient are zero.
    """
    targets = offset_targets(uvz, patches)
    total = uvz.new_zeros(())
    for output in outputs:
        total = total + _huber(output.uvz, uvz)
        total = total + offset_weight * _huber(output.offsets, targets)
    return total


def _huber(predicted: Tensor, target: Tensor) -> Tensor:
    target = torch.where(target.isnan(), predicted.detach(), target)
    return F.huber_loss(predicted, target, reduction="sum", delta=HUBER_DELTA)


def decayed_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters with weight decay: kernels and BatchNorm scales, but no biases or BatchNorm shifts."""
    return [parameter for name, parameter in model.named_parameters() if name.endswith("weight")]


def regularization(model: nn.Module) -> Tensor:
    """Return the L2 term of the paper: half of `WEIGHT_DECAY` times the sum of squares of `decayed_parameters`."""
    return 0.5 * WEIGHT_DECAY * torch.stack([p.square().sum() for p in decayed_parameters(model)]).sum()
