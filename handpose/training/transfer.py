"""Initialization of a network with the weights of another joint layout."""

from __future__ import annotations

import torch
from torch import Tensor

from handpose.errors import HandPoseError
from handpose.network.config import JGRP2OConfig
from handpose.weights.folder import Weights

NEAREST_JOINTS: dict[tuple[str, str], tuple[int, ...]] = {
    ("icvl", "nyu"): (15, 14, 12, 11, 9, 8, 6, 5, 3, 3, 2, 0, 1, 0),
    ("icvl", "msra"): (0, 4, 5, 5, 6, 7, 8, 8, 9, 10, 11, 12, 12, 13, 14, 14, 15, 1, 1, 3, 3),
    ("nyu", "icvl"): (13, 10, 10, 9, 7, 7, 6, 5, 5, 4, 1, 3, 2, 1, 1, 0),
    ("nyu", "msra"): (11, 13, 7, 7, 6, 13, 5, 4, 4, 13, 3, 3, 2, 13, 1, 0, 0, 10, 10, 9, 8),
    ("msra", "icvl"): (17, 17, 19, 19, 1, 3, 4, 5, 7, 8, 9, 10, 11, 13, 14, 16),
    ("msra", "nyu"): (16, 14, 12, 10, 8, 6, 4, 2, 20, 19, 18, 0, 0, 5),
}
"""Index of the nearest joint of the first layout for each joint of the second one, on the mean hand model at rest."""


def initial_state(start: Weights, network: JGRP2OConfig) -> dict[str, Tensor]:
    """Return the tensors that initialize a network: those of `start`, adapted to the joints of its layout.

    Raises:
        HandPoseError: The network has other dimensions than `start`.
    """
    for name in ("stacks", "features", "graph", "voting"):
        expected, got = getattr(network, name), getattr(start.config, name)
        if got != expected:
            raise HandPoseError(f"{start.name}: has {name} {got!r}, not {expected!r}; start from other weights")
    state = start.load().state_dict()
    if start.config.layout == network.layout:
        return state
    return adapt_joints(state, torch.tensor(NEAREST_JOINTS[start.config.layout, network.layout]))


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
