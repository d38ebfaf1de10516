"""Weights of one joint layout as the start of another."""

from __future__ import annotations

import torch
from torch import Tensor

from handpose.network.config import JGRP2OConfig
from handpose.synthetic.annotation import joint_weights
from handpose.synthetic.hand_model import HandModel


def adapt_joints(state: dict[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
    """A network's tensors for other joints: joint j gets what joint `rows[j]` had, everything else stays.

    Args:
        state: state dict of a `JGRP2O`.
        rows: (J,) int64, which of the old joints each new one starts from.
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
            # Two new joints that come from the same old one share its say.
            shares = 1.0 / torch.bincount(rows, minlength=joints)[rows].to(tensor)
            adapted[name] = tensor[:, blocks] * shares.repeat(3)[:, None, None]
    return adapted


def nearest_joints(hand: HandModel, old: JGRP2OConfig, new: JGRP2OConfig) -> Tensor:
    """For every joint of one layout the nearest of another, on the mean hand at rest: (J,) int64."""
    landmarks = hand.mean[hand.vertices :]
    places, others = (joint_weights(config.joint_layout).to(landmarks) @ landmarks for config in (new, old))
    return torch.cdist(places, others).argmin(dim=1).cpu()
