"""Training on rendered hands."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch

from handpose.network.config import JGRP2OConfig
from handpose.network.distances import joint_errors
from handpose.network.model import JGRP2O
from handpose.synthetic.hand_file import cached_hand_file
from handpose.synthetic.hand_model import HandModel
from handpose.synthetic.hands import SyntheticHands
from handpose.synthetic.poses import cached_pose_bank
from handpose.training.config import TrainingConfig
from handpose.training.trainer import Trainer
from handpose.training.transfer import adapt_joints, nearest_joints
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
        tensors = adapt_joints(start.load().state_dict(), nearest_joints(hand, start.config, model))
    trainer = Trainer(run, model, config, train, device, start=tensors, compile=compile, sync_batchnorm=sync_batchnorm)
    trainer.run(validate, report, max_minutes=max_minutes, on_step=on_step)
