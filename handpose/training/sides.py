"""Training of the side head, which tells right hands from left ones, on the outputs of a trained pose network."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from handpose.errors import WeightsError
from handpose.io.progress import report, track
from handpose.network.config import JGRP2OConfig
from handpose.network.model import JGRP2O
from handpose.network.side_head import HIDDEN, PROJECTED, SideHead
from handpose.synthetic.hand_file import cached_hand_file
from handpose.synthetic.hand_model import HandModel
from handpose.synthetic.hands import TRAINING_SCENES, SceneRange, SyntheticHands
from handpose.synthetic.poses import cached_pose_bank, cached_training_poses
from handpose.weights.folder import Weights

CROPS, VALIDATION_CROPS = 20_480, 2_048
"""Numbers of the crops that a head is trained on and calibrated with."""

_SCENES = (
    SceneRange(distance=(200.0, 1100.0), center_noise=13.0),  # the localizer is less accurate than labels
    SceneRange(distance=(200.0, 1100.0), center_noise=13.0),
    replace(TRAINING_SCENES, center_noise=13.0),
)
_VALIDATION_POSES = 1000  # the first ones, which no training of the pose network uses
_RENDERED = 64  # crops at once
_EPOCHS, _BATCH, _RATE, _DECAY, _WARM_UP = 10, 128, 2e-3, 0.1, 50
_DROPOUT = 0.4
_SMOOTHED = 0.5
_SAMPLE, _MIN_STD = 2048, 1e-3  # hands that the inputs are standardized with, and the least standard deviation


class SideOutputs(NamedTuple):
    """Outputs of the pose network for N right hands and their mirror images, float16.

    Attributes:
        features: (N, 2, S, J, C) joint features; first those of the right hand, then those of its mirror image.
        uvz: (N, 2, J, 3) normalized joints.
        spread: (N, 2, J, 3) their spread, normalized.
    """

    features: Tensor
    uvz: Tensor
    spread: Tensor


class SideResult(NamedTuple):
    """A side head, and the fractions of validation hands that it classifies correctly.

    Attributes:
        head: The head.
        single: Given one pass of the network.
        compared: Given the passes of the crop and of its mirror image.
    """

    head: SideHead
    single: float
    compared: float


def train_side_head(weights: Weights, *, crops: int = CROPS, seed: int = 0) -> SideResult:
    """Train a side head for weights on synthetic crops. It belongs to these weights only.

    Args:
        weights: Weights of the pose network.
        crops: Number of training crops, of which each is used as a right and as a left hand.
        seed: Seed of the crops and of the training.

    Raises:
        WeightsError: The network has no joint features.
        HandPoseError: The hand model does not exist yet, and generating it requires the extra `train`.
    """
    if weights.config.graph == "none":
        raise WeightsError(f"{weights.name}: a network without graph reasoning has no joint features")
    model, hand = weights.load(), HandModel(cached_hand_file())
    poses, held_out = cached_training_poses(hand), cached_pose_bank(hand)[:_VALIDATION_POSES]
    sources = [_crops(weights.config, hand, poses, scenes, seed + i) for i, scenes in enumerate(_SCENES)]
    validation = [_crops(weights.config, hand, held_out, SceneRange(), seed + len(_SCENES))]
    training = side_outputs(model, sources, crops, np.random.default_rng(seed))
    return fit_side_head(training, side_outputs(model, validation, VALIDATION_CROPS), weights.config, seed)


def _crops(config: JGRP2OConfig, hand: HandModel, poses: Tensor, scenes: SceneRange, seed: int) -> SyntheticHands:
    return SyntheticHands(
        hand, poses, config.joint_layout, cube=config.cube, uv_scale=config.uv_scale, scenes=scenes, seed=seed
    )


def side_outputs(
    model: JGRP2O, sources: list[SyntheticHands], crops: int, smoothing: np.random.Generator | None = None
) -> SideOutputs:
    """Return the outputs of the network for a number of crops, taken from the sources in turns.

    Args:
        model: The network.
        sources: Sources of the crops.
        crops: Number of crops.
        smoothing: If given, it chooses half of the crops, which are smoothed.
    """
    parts = list(_side_outputs(model, sources, crops, smoothing))
    return SideOutputs(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


@torch.inference_mode()
def _side_outputs(
    model: JGRP2O, sources: list[SyntheticHands], crops: int, smoothing: np.random.Generator | None
) -> Iterator[tuple[Tensor, ...]]:
    for start in range(0, crops, _RENDERED):
        report("rendering hands and running the network", start, crops)
        patches, _ = sources[start // _RENDERED % len(sources)].batch(min(_RENDERED, crops - start))
        if smoothing is not None:
            patches = _half_smoothed(patches, smoothing)
        passes = [model(patches), model(patches.flip(3))]
        yield tuple(torch.stack(both, dim=1).half() for both in zip(*passes, strict=True))


def _half_smoothed(patches: Tensor, generator: np.random.Generator) -> Tensor:
    """Return patches (N, 1, 96, 96) of which about half are smoothed, but not across edges, as many cameras do it.

    Without them, a head takes the smooth left hands of such cameras for right ones.
    """
    smoothed = patches.numpy().copy()
    for i in np.flatnonzero(generator.random(len(smoothed)) < _SMOOTHED):
        for _ in range(generator.integers(1, 4)):
            smoothed[i, 0] = cv2.bilateralFilter(smoothed[i, 0], 5, generator.uniform(0.04, 0.12), 2.0)
    return torch.from_numpy(smoothed)


def fit_side_head(training: SideOutputs, validation: SideOutputs, config: JGRP2OConfig, seed: int = 0) -> SideResult:
    """Fit a head to the outputs of the network, and calibrate its log-odds with others.

    Args:
        training: Outputs for hands in the poses of the training.
        validation: Outputs for hands in other poses.
        config: Configuration of the network.
        seed: Seed of the initial weights, the dropout and the order of the hands.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _Perceptron(config, training)
        _fit(model, training)
    with torch.no_grad():
        right, left = _log_odds(model.eval(), validation)
    scale = _calibrated(torch.cat([right, -left]))
    head = model.head(scale, _calibrated(scale * (right - left)))
    single = torch.cat([right > 0, left < 0]).float().mean()
    return SideResult(head, float(single), float((right > left).float().mean()))


class _Perceptron(nn.Module):
    """The head while it is trained: its inputs are standardized."""

    def __init__(self, config: JGRP2OConfig, training: SideOutputs) -> None:
        super().__init__()
        joints = len(config.joint_layout)
        self.project = nn.ModuleList(nn.Linear(config.features, PROJECTED) for _ in range(config.stacks))
        self.hidden = nn.Linear(joints * (config.stacks * PROJECTED + 6), HIDDEN)
        self.output = nn.Linear(HIDDEN, 1)
        self.dropout = nn.Dropout(_DROPOUT)
        sample = SideOutputs(*(tensor[:_SAMPLE].float() for tensor in training))
        per_stack = sample.features.movedim(2, 0).flatten(1, 3)  # (S, ..., C)
        self.feature_mean, self.feature_std = per_stack.mean(1)[:, None], per_stack.std(1)[:, None] + _MIN_STD
        pose = _joined(sample.uvz, sample.spread).flatten(0, 1)
        self.pose_mean, self.pose_std = pose.mean(0), pose.std(0) + _MIN_STD

    def forward(self, features: Tensor, uvz: Tensor, spread: Tensor) -> Tensor:
        """Return the log-odds (...) of right hands, given (..., S, J, C), and twice (..., J, 3)."""
        features = (features - self.feature_mean) / self.feature_std
        projected = [F.relu(project(features[..., i, :, :])) for i, project in enumerate(self.project)]
        pose = (_joined(uvz, spread) - self.pose_mean) / self.pose_std
        inputs = torch.cat([torch.stack(projected, dim=-3).flatten(-3), pose], dim=-1)
        hidden = self.dropout(F.relu(self.hidden(self.dropout(inputs))))
        return self.output(hidden)[..., 0]  # type: ignore[no-any-return]

    def head(self, scale: float, comparison: float) -> SideHead:
        """Return the head for inputs that are not standardized, with its log-odds multiplied by `scale`."""
        projections = [project for project in self.project if isinstance(project, nn.Linear)]
        project = torch.stack([each.weight.T for each in projections])  # (S, C, P)
        bias = torch.stack([each.bias for each in projections])[:, None]  # (S, 1, P)
        project = project / self.feature_std.transpose(1, 2)
        bias = bias - self.feature_mean @ project
        hidden, values = self.hidden.weight.T.clone(), len(self.pose_mean)
        hidden[-values:] /= self.pose_std[:, None]
        hidden_bias = self.hidden.bias - self.pose_mean @ hidden[-values:]
        output, output_bias = scale * self.output.weight[0], scale * self.output.bias[0]
        tensors = (project, bias, hidden, hidden_bias, output, output_bias, torch.tensor(comparison))
        return SideHead(*(tensor.detach().numpy() for tensor in tensors))


def _joined(uvz: Tensor, spread: Tensor) -> Tensor:
    return torch.cat([uvz.flatten(-2), spread.flatten(-2)], dim=-1)


def _log_odds(model: _Perceptron, outputs: SideOutputs) -> tuple[Tensor, Tensor]:
    """Return the log-odds (N,) that right hands are right hands, and that their mirror images are."""
    right, left = model(*(tensor.float() for tensor in outputs)).unbind(1)
    return right, left


def _fit(model: _Perceptron, training: SideOutputs) -> None:
    """Train the head, on single passes as well as on the differences between a hand and its mirror image."""
    hands = len(training.uvz)
    steps = _EPOCHS * math.ceil(hands / _BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=_RATE, weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / _WARM_UP) * (1.0 + math.cos(math.pi * step / steps)) / 2.0
    )
    for _ in track(range(_EPOCHS), "training the side head", _EPOCHS):
        for chosen in torch.split(torch.randperm(hands), _BATCH):
            right, left = _log_odds(model, SideOutputs(*(tensor[chosen] for tensor in training)))
            loss = F.softplus(left - right).mean() + (F.softplus(-right).mean() + F.softplus(left).mean()) / 2.0
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()


def _calibrated(log_odds: Tensor) -> float:
    """Return the factor for the log-odds of true statements that makes them most likely."""
    factors = torch.logspace(-1.5, 0.5, 201)
    losses = F.softplus(-factors[:, None] * log_odds).mean(1)
    return float(factors[losses.argmin()])
