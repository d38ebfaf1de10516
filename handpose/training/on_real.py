"""Training of the pose network on a data set."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from handpose.datasets.crops import read_crops
from handpose.datasets.dataset import HandDataset
from handpose.errors import HandPoseError
from handpose.io.warn import warn_skipped
from handpose.network.config import JGRP2OConfig
from handpose.training.config import TrainingConfig
from handpose.training.pose_task import PoseTask
from handpose.training.real_crops import DatasetCrops
from handpose.training.transfer import initial_state
from handpose.weights.folder import Weights

_MAX_VALIDATION = 500


@contextlib.contextmanager
def dataset_task(
    network: JGRP2OConfig,
    config: TrainingConfig,
    dataset: HandDataset,
    device: str = "cpu",
    *,
    held_out: HandDataset | None = None,
    workers: int = 0,
    start: Weights | None = None,
) -> Iterator[PoseTask]:
    """Provide the task of training on a data set, and stop its worker processes afterward.

    Args:
        network: Configuration of the network.
        config: Training settings.
        dataset: The frames to train on.
        device: Device of the network and of the crops.
        held_out: Frames for validation, of which at most 500 are used; see `HandDataset.hold_out`.
        workers: Number of processes that load images; 0 loads them in this process.
        start: Initial weights, of any joint layout.

    Raises:
        HandPoseError: No frame is usable, or the network has other dimensions than the initial weights.
    """
    validation: tuple[Tensor, Tensor] | None = None
    cubes: Tensor | None = None
    if held_out is not None:
        patches, truth, cubes = _validation_crops(held_out, network.uv_scale, device, workers)
        validation = patches, truth
    source = DatasetCrops(dataset, uv_scale=network.uv_scale, seed=config.seed, workers=workers, device=device)
    state = None if start is None else initial_state(start, network)
    try:
        yield PoseTask(network, config, source, validation, device, state, seek=source.seek, cubes=cubes)
    finally:
        source.close()


def _validation_crops(
    dataset: HandDataset, uv_scale: float, device: str, workers: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the patches (N, 1, 96, 96) of frames, their normalized joints (N, J, 3) and the sides of their cubes (N,).

    The sides are in mm.

    Warns:
        SkippedFrameWarning: A frame is unreadable.
    """
    frames = dataset.usable
    chosen = frames[np.linspace(0, len(frames) - 1, min(_MAX_VALIDATION, len(frames))).astype(int)]
    items = []
    for item in read_crops(dataset, chosen, workers=workers, uv_scale=uv_scale):
        if item.crop:
            items.append(item)
        else:
            warn_skipped(item.name, item.problem or "no crop")
    if not items:
        raise HandPoseError(f"{dataset.origin}: none of the {len(chosen)} validation frames can be read")
    patches = torch.from_numpy(np.stack([item.crop.patch for item in items if item.crop])[:, None]).to(device)
    truth = torch.from_numpy(np.stack([item.uvz for item in items if item.uvz is not None])).float().to(device)
    return patches, truth, torch.tensor([item.crop.cube for item in items if item.crop], device=device)
