"""Training on rendered hands."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from handpose.network.config import JGRP2OConfig
from handpose.network.model import JGRP2O
from handpose.synthetic.annotation import joint_weights
from handpose.synthetic.hand_file import cached_hand_file
from handpose.synthetic.hand_model import HandModel
from handpose.synthetic.hands import SyntheticHands
from handpose.synthetic.poses import cached_pose_bank
from handpose.training.trainer import Trainer, TrainingConfig, joint_errors
from handpose.weights.folder import Weights


def train_synthetic(
    run: str | Path,
    model: JGRP2OConfig,
    config: TrainingConfig,
    device: str,
    report: Callable[[dict[str, float]], None],
    *,
    max_minutes: float = math.inf,
    on_step: Callable[[int], None] = lambda step: None,
    start: Weights | None = None,
    compile: bool = False,
    sync_batchnorm: bool = False,
) -> None:
    """Trains on rendered hands, in poses and with noise that its own validation crops do not share.

    Args:
        run: folder of the training; one that has a checkpoint is continued.
        model: what to train.
        config: how.
        device: where.
        report: gets the numbers of every validation.
        max_minutes: when to stop, with a checkpoint to go on from.
        on_step: called after every step with its number.
        start: weights to begin with, of this or another layout.
        compile: run the network through `torch.compile`.
        sync_batchnorm: as in `Trainer`.
    """
    hand = HandModel(cached_hand_file(), device)
    poses = cached_pose_bank(HandModel(cached_hand_file()))
    train, check = (
        SyntheticHands(hand, bank, model.joint_layout, cube=model.cube, uv_scale=model.uv_scale, seed=config.seed)
        for bank in (poses[1000:], poses[:1000])
    )
    patches, truth = check.batch(600)

    @torch.no_grad()
    def validate(network: JGRP2O) -> dict[str, float]:
        uvz = torch.cat([network(part)[0] for part in torch.split(patches, 100)])
        errors = joint_errors(uvz, truth, model)
        within = (errors.amax(1) < 20.0).float().mean()
        return {"mean_mm": float(errors.mean()), "median_mm": float(errors.median()), "success_20mm": float(within)}

    tensors = None
    if start is not None:
        tensors = adapt_joints(start.load().state_dict(), _nearest_joints(hand, start.config, model))
    trainer = Trainer(run, model, config, train, device, start=tensors, compile=compile, sync_batchnorm=sync_batchnorm)
    trainer.run(validate, report, max_minutes=max_minutes, on_step=on_step)


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


def _nearest_joints(hand: HandModel, old: JGRP2OConfig, new: JGRP2OConfig) -> Tensor:
    """For every joint of one layout the nearest of another, on the mean hand at rest: (J,) int64."""
    landmarks = hand.mean[hand.vertices :]
    places, others = (joint_weights(config.joint_layout).to(landmarks) @ landmarks for config in (new, old))
    return torch.cdist(places, others).argmin(dim=1).cpu()
