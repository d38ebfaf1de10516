"""Training of the pose network on a data set."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import torch

from handpose.datasets.crops import read_crops
from handpose.datasets.dataset import HandDataset
from handpose.errors import HandPoseError
from handpose.network.config import JGRP2OConfig
from handpose.training.config import TrainingConfig
from handpose.training.pose_task import PoseTask
from handpose.training.real_crops import DatasetCrops
from handpose.weights.folder import Weights

_VALIDATION_DIVISOR = 50  # one of this many training frames is used for validation
_MAX_VALIDATION = 500


@contextlib.contextmanager
def dataset_task(
    network: JGRP2OConfig,
    config: TrainingConfig,
    dataset: HandDataset,
    device: str = "cpu",
    *,
    workers: int = 0,
    start: Weights | None = None,
) -> Iterator[PoseTask]:
    """Provide the task of training on a data set, and stop its worker processes afterward.

    Validation uses the last frames of the training split, never the test split.

    Args:
        network: Configuration of the network.
        config: Training settings.
        dataset: The training split.
        device: Device of the network and of the crops.
        workers: Number of processes that load images; 0 loads them in this process.
        start: Initial weights, of the same joint layout.

    Raises:
        HandPoseError: Too few frames are usable, or `start` has another joint layout.
    """
    if start is not None and start.config.layout != network.layout:
        raise HandPoseError(
            f"{start.name} predicts {start.config.layout} joints, but {dataset.name} requires {network.layout} joints"
        )
    frames = dataset.usable
    held_out = frames[len(frames) - max(1, len(frames) // _VALIDATION_DIVISOR) :]
    if len(frames) <= len(held_out):
        raise HandPoseError(
            f"{dataset.root}: {len(frames)} of {len(dataset)} frames are usable, which are too few for training"
        )
    chosen = held_out[np.linspace(0, len(held_out) - 1, min(_MAX_VALIDATION, len(held_out))).astype(int)]
    items = [item for item in read_crops(dataset, chosen, workers=workers, uv_scale=network.uv_scale) if item.crop]
    if not items:
        raise HandPoseError(f"{dataset.root}: none of the {len(chosen)} validation frames can be read")
    patches = torch.from_numpy(np.stack([item.crop.patch for item in items if item.crop])[:, None]).to(device)
    truth = torch.from_numpy(np.stack([item.uvz for item in items if item.uvz is not None])).float().to(device)
    training = dataset.subset(frames[: -len(held_out)])
    source = DatasetCrops(training, uv_scale=network.uv_scale, seed=config.seed, workers=workers, device=device)
    state = None if start is None else start.load().state_dict()
    try:
        yield PoseTask(network, config, source, (patches, truth), device, state)
    finally:
        source.close()
