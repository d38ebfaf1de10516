"""Training of the heads of a trained pose network: one tells hands from other things, one right from left hands."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from handpose.errors import WeightsError
from handpose.network.config import JGRP2OConfig
from handpose.network.heads import Heads, PatchHead
from handpose.training.head_outputs import HeadData, Outputs, head_data
from handpose.training.perceptron import Perceptron, calibrated, fit
from handpose.weights.folder import Weights

CROPS, VALIDATION_CROPS = 20_480, 2_048
"""Numbers of the hands that the heads are trained on and calibrated with."""


class HeadsResult(NamedTuple):
    """The heads of a network, and the fractions of validation crops that they classify correctly.

    Attributes:
        heads: The heads.
        hands: Fraction of the hands that are classified as hands.
        others: Fraction of the other things that are classified as such.
        single: Fraction of the hands whose side is correct, given one pass of the network.
        compared: The same, given the passes of the crop and of its mirror image.
    """

    heads: Heads
    hands: float
    others: float
    single: float
    compared: float


def train_heads(weights: Weights, *, crops: int = CROPS, seed: int = 0) -> HeadsResult:
    """Train the heads for weights on synthetic crops. They belong to these weights only.

    Args:
        weights: Weights of the pose network.
        crops: Number of hands, of which each is used as a right and as a left one. There are 3/8 as many crops of other
            things.
        seed: Seed of the crops and of the training.

    Raises:
        WeightsError: The network has no joint features.
        HandPoseError: The hand model does not exist yet, and generating it requires the extra `train`.
    """
    if weights.config.graph == "none":
        raise WeightsError(f"{weights.name}: a network without graph reasoning has no joint features")
    training, validation = head_data(weights.load(), weights.config, crops, VALIDATION_CROPS, seed)
    return fit_heads(training, validation, weights.config, seed)


def fit_heads(training: HeadData, validation: HeadData, config: JGRP2OConfig, seed: int = 0) -> HeadsResult:
    """Fit heads to the outputs of the network, and calibrate their log-odds with others.

    Args:
        training: Outputs for hands in the poses of the training, and for other things.
        validation: Outputs for hands in other poses, and for other things.
        config: Configuration of the network.
        seed: Seed of the initial weights, the dropout and the order of the crops.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        side, comparison, single, compared = _fit_side_head(training.hands, validation.hands, config)
        hand, hands, others = _fit_hand_head(training, validation, config)
    heads = Heads(hand, side, torch.tensor(comparison).numpy())
    return HeadsResult(heads, hands, others, single, compared)


def _fit_hand_head(training: HeadData, validation: HeadData, config: JGRP2OConfig) -> tuple[PatchHead, float, float]:
    """Return the head that tells hands from other things, and the fractions of both that are classified correctly."""
    hands, others = training
    model = Perceptron(config, hands, others)

    def loss(chosen: Tensor) -> Tensor:
        """Return the loss for these hands, each as a right or a left one, and for as many other things."""
        positive = model(hands.select((chosen, torch.randint(2, (len(chosen),)))))
        negative = model(others.select(torch.randint(len(others.uvz), (len(chosen),))))
        return F.softplus(-positive).mean() + F.softplus(negative).mean()

    fit(model, len(hands.uvz), loss, "training the head for hands")
    with torch.no_grad():
        positive, negative = model(validation.hands).flatten(), model(validation.others)
    # Both kinds count the same, although there are more hands.
    repeated = negative.repeat(max(1, round(len(positive) / len(negative))))
    scale = calibrated(torch.cat([positive, -repeated]))
    return model.head(scale), float((positive > 0).float().mean()), float((negative < 0).float().mean())


def _fit_side_head(
    training: Outputs, validation: Outputs, config: JGRP2OConfig
) -> tuple[PatchHead, float, float, float]:
    """Return the head that tells right hands from left ones, and the last three values of `HeadsResult`.

    They follow the factor for the comparison of a hand with its mirror image. The head is trained on single passes as
    well as on such differences.
    """
    model = Perceptron(config, training)

    def loss(chosen: Tensor) -> Tensor:
        right, left = model(training.select(chosen)).unbind(1)
        return F.softplus(left - right).mean() + (F.softplus(-right).mean() + F.softplus(left).mean()) / 2.0

    fit(model, len(training.uvz), loss, "training the head for sides")
    with torch.no_grad():
        right, left = model(validation).unbind(1)
    scale = calibrated(torch.cat([right, -left]))
    single = torch.cat([right > 0, left < 0]).float().mean()
    comparison = calibrated(scale * (right - left))
    return model.head(scale), comparison, float(single), float((right > left).float().mean())
