"""Training on real data, and measuring a model on it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from handpose.datasets.crops import read_crops
from handpose.datasets.dataset import HandDataset
from handpose.errors import HandPoseError
from handpose.network.config import JGRP2OConfig
from handpose.network.distances import joint_errors
from handpose.network.model import JGRP2O
from handpose.training.config import TrainingConfig
from handpose.training.real_crops import DatasetCrops
from handpose.training.trainer import Trainer
from handpose.weights.folder import Weights

_HELD_OUT = 50  # of so many training frames the last one is for validation
_VALIDATION = 500
BATCH = 64


def train_dataset(
    run: str | Path,
    model: JGRP2OConfig,
    config: TrainingConfig,
    dataset: HandDataset,
    device: str,
    report: Callable[[dict[str, float]], None],
    *,
    max_minutes: float = math.inf,
    on_step: Callable[[int], None] = lambda step: None,
    workers: int = 0,
    start: Weights | None = None,
    compile: bool = False,
    sync_batchnorm: bool = False,
) -> None:
    """Trains on a data set's training split; validation is on its own last frames, never on the test split.

    Args:
        run: folder of the training; one that has a checkpoint is continued.
        model: what to train.
        config: how.
        dataset: the training split.
        device: where.
        report: gets the numbers of every validation.
        max_minutes: when to stop, with a checkpoint to go on from.
        on_step: called after every step with its number.
        workers: processes that read and cut images.
        start: weights to begin with, of the same layout.
        compile: run the network through `torch.compile`.
        sync_batchnorm: as in `Trainer`.

    Raises:
        HandPoseError: too few frames can be used, or `start` is for other joints.
    """
    if start is not None and start.config.layout != model.layout:
        raise HandPoseError(
            f"{start.name} predicts the joints of {start.config.layout}, {dataset.name} needs {model.layout}"
        )
    tensors = None if start is None else start.load().state_dict()
    frames = dataset.usable
    held_out = frames[len(frames) - max(1, len(frames) // _HELD_OUT) :]
    if len(frames) <= len(held_out):
        raise HandPoseError(f"{dataset.root}: {len(frames)} of {len(dataset)} frames can be used, too few to train on")
    chosen = held_out[np.linspace(0, len(held_out) - 1, min(_VALIDATION, len(held_out))).astype(int)]
    items = [item for item in read_crops(dataset, chosen, workers=workers, uv_scale=model.uv_scale) if item.crop]
    if not items:
        raise HandPoseError(f"{dataset.root}: none of the {len(chosen)} frames held out for validation can be read")
    patches = torch.from_numpy(np.stack([item.crop.patch for item in items if item.crop])[:, None]).to(device)
    truth = torch.from_numpy(np.stack([item.uvz for item in items if item.uvz is not None])).float().to(device)

    @torch.no_grad()
    def validate(network: JGRP2O) -> dict[str, float]:
        uvz = torch.cat([network(part)[0] for part in torch.split(patches, BATCH)])
        errors = joint_errors(uvz, truth, model)
        return {"mean_mm": float(errors.mean()), "median_mm": float(errors.median())}

    part = dataset.subset(frames[: -len(held_out)])
    source = DatasetCrops(part, uv_scale=model.uv_scale, seed=config.seed, workers=workers, device=device)
    try:
        trainer = Trainer(
            run, model, config, source, device, start=tensors, compile=compile, sync_batchnorm=sync_batchnorm
        )
        trainer.run(validate, report, max_minutes=max_minutes, on_step=on_step)
    finally:
        source.close()
