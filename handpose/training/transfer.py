"""Initialization of a network with the weights of another joint layout."""

from __future__ import annotations

import torch
from torch import Tensor

from handpose.network.config import JGRP2OConfig
from handpose.synthetic.annotation import joint_weights
from handpose.synthetic.hand_model import HandModel


def adapt_joints(state: dict[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
    """Return a network's tensors for other joints: joint j gets the weights of joint `rows[j]`.

    Args:
        state: State dict of a `JGRP2O`.
        rows: (J,) int64, index of the old joint for each new joint.
    """
    joints = len(state["reasonings.0.vote.bias"])
    blocks = torch.cat([rows + block * joints for block in range(3)])  # all joints' du, then dv, then dz
    adapted = dict(state)
    for name, tensor in state.items():
        if ".vote." in name:
            adapted[name] = tensor[rows]
        elif name.endswith(".offsets.weight"):
            adapted[name] = tensor[blocks]
        elif name.startswith("from_offsets.") and tensor.ndim == 4:
            # New joints from the same old joint share its input weight.
            shares = 1.0 / torch.bincount(rows, minlength=joints)[rows].to(tensor)
            adapted[name] = tensor[:, blocks] * shares.repeat(3)[:, None, None]
    return adapted


def nearest_joints(hand: HandModel, old: JGRP2OConfig, new: JGRP2OConfig) -> Tensor:
    """Return, for every joint of a layout, the nearest joint of the old one on the mean hand at rest: (J,) int64."""
    landmarks = hand.mean[hand.vertices :]
    joints, old_joints = (joint_weights(config.joint_layout).to(landmarks) @ landmarks for config in (new, old))
    return torch.cdist(joints, old_joints).argmin(dim=1).cpu()
