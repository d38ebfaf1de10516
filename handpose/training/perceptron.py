"""Training of a perceptron on the outputs of the pose network."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from handpose.io.progress import track
from handpose.network.config import JGRP2OConfig
from handpose.network.heads import HIDDEN, PROJECTED, PatchHead
from handpose.training.head_outputs import Outputs

_EPOCHS, _BATCH, _RATE, _DECAY, _WARM_UP = 10, 128, 2e-3, 0.1, 50
_DROPOUT = 0.4
_SAMPLE, _MIN_STD = 2048, 1e-3  # patches that the inputs are standardized with, and the least standard deviation


class Perceptron(nn.Module):
    """A head while it is trained: its inputs are standardized.

    Args:
        config: Configuration of the network.
        samples: Outputs of the network that its inputs are standardized with, of which the first ones are used.
    """

    def __init__(self, config: JGRP2OConfig, *samples: Outputs) -> None:
        super().__init__()
        joints = len(config.joint_layout)
        self.project = nn.ModuleList(nn.Linear(config.features, PROJECTED) for _ in range(config.stacks))
        self.hidden = nn.Linear(joints * (config.stacks * PROJECTED + 6), HIDDEN)
        self.output = nn.Linear(HIDDEN, 1)
        self.dropout = nn.Dropout(_DROPOUT)
        features = torch.cat([sample.features[:_SAMPLE].float().flatten(0, -4) for sample in samples])
        per_stack = features.movedim(1, 0).flatten(1, 2)  # (S, ..., C)
        self.feature_mean, self.feature_std = per_stack.mean(1)[:, None], per_stack.std(1)[:, None] + _MIN_STD
        pose = torch.cat([_joined(sample.select(slice(_SAMPLE))).flatten(0, -2) for sample in samples])
        self.pose_mean, self.pose_std = pose.mean(0), pose.std(0) + _MIN_STD

    def forward(self, outputs: Outputs) -> Tensor:
        """Return the log-odds (...), given the outputs of the network."""
        features = (outputs.features.float() - self.feature_mean) / self.feature_std
        projected = [F.relu(project(features[..., i, :, :])) for i, project in enumerate(self.project)]
        pose = (_joined(outputs) - self.pose_mean) / self.pose_std
        inputs = torch.cat([torch.stack(projected, dim=-3).flatten(-3), pose], dim=-1)
        hidden = self.dropout(F.relu(self.hidden(self.dropout(inputs))))
        return self.output(hidden)[..., 0]  # type: ignore[no-any-return]

    def head(self, scale: float) -> PatchHead:
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
        tensors = (project, bias, hidden, hidden_bias, output, output_bias)
        return PatchHead(*(tensor.detach().numpy() for tensor in tensors))


def _joined(outputs: Outputs) -> Tensor:
    return torch.cat([outputs.uvz.flatten(-2), outputs.spread.flatten(-2)], dim=-1).float()


def fit(model: Perceptron, count: int, loss: Callable[[Tensor], Tensor], title: str) -> None:
    """Train a perceptron, and put it into inference mode.

    Args:
        model: The perceptron.
        count: Number of training samples.
        loss: Returns the loss for the samples with these indices.
        title: What the progress is reported as.
    """
    steps = _EPOCHS * math.ceil(count / _BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=_RATE, weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / _WARM_UP) * (1.0 + math.cos(math.pi * step / steps)) / 2.0
    )
    for _ in track(range(_EPOCHS), title, _EPOCHS):
        for chosen in torch.split(torch.randperm(count), _BATCH):
            value = loss(chosen)
            optimizer.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    model.eval()


def calibrated(log_odds: Tensor) -> float:
    """Return the factor for the log-odds of true statements that makes them most likely."""
    factors = torch.logspace(-1.5, 0.5, 201)
    losses = F.softplus(-factors[:, None] * log_odds).mean(1)
    return float(factors[losses.argmin()])
