"""Outputs of a trained pose network for synthetic crops of hands and of other things, to train its heads on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from handpose.io.progress import report
from handpose.network.config import JGRP2OConfig
from handpose.network.model import JGRP2O
from handpose.synthetic.bodies import cached_bodies
from handpose.synthetic.hand_file import cached_hand_file
from handpose.synthetic.hand_model import HandModel
from handpose.synthetic.hands import TRAINING_SCENES, SceneRange, SyntheticHands
from handpose.synthetic.other_crops import OtherCrops
from handpose.synthetic.poses import cached_pose_bank, cached_training_poses

_HANDS = (
    SceneRange(distance=(200.0, 1100.0), center_noise=13.0),  # the localizer is less accurate than labels
    SceneRange(distance=(200.0, 1100.0), center_noise=13.0),
    replace(TRAINING_SCENES, center_noise=13.0),
)
_OTHERS = SceneRange(distance=(200.0, 1100.0), body=0.8, table=0.3, second_hand=0.0, border=0.1, coarsest=5.0)
_OTHERS_PER_HAND = 3 / 8
_VALIDATION_POSES = 1000  # the first ones, which no training of the pose network uses
_RENDERED = 64  # crops at once
_SMOOTHED = 0.5


class Outputs(NamedTuple):
    """Outputs of the pose network for N patches, or for other leading dimensions; float16.

    Attributes:
        features: (N, S, J, C) joint features.
        uvz: (N, J, 3) normalized joints.
        spread: (N, J, 3) their spread, normalized.
    """

    features: Tensor
    uvz: Tensor
    spread: Tensor

    def select(self, index: Tensor | slice | tuple[Tensor | slice | int, ...]) -> Outputs:
        """Return the outputs for these indices of the leading dimensions."""
        return Outputs(*(tensor[index] for tensor in self))


class HeadData(NamedTuple):
    """What the heads are trained on, or validated with.

    Attributes:
        hands: Outputs for N right hands and their mirror images, with the leading dimensions (N, 2).
        others: Outputs for M crops of other things.
    """

    hands: Outputs
    others: Outputs


def head_data(model: JGRP2O, config: JGRP2OConfig, hands: int, validation: int, seed: int) -> tuple[HeadData, HeadData]:
    """Return what the heads of a network are trained on, and what they are calibrated with.

    Half of the crops for the training are smoothed, but not across edges, as many cameras do it. Without them, the side
    head takes the smooth left hands of such cameras for right ones.

    Args:
        model: The network, in inference mode.
        config: Its configuration.
        hands: Number of hands for the training.
        validation: Number of hands for the calibration.
        seed: Seed of the crops.

    Raises:
        HandPoseError: The hand model does not exist yet, and generating it requires the extra `train`.
    """
    hand = HandModel(cached_hand_file())
    poses = cached_training_poses(hand)
    sources = [_source(hand, poses, config, scenes, seed + i) for i, scenes in enumerate(_HANDS)]
    training = _data(model, sources, _source(hand, poses, config, _OTHERS, seed + 10), hands, _SMOOTHED, seed)
    return training, validation_data(model, config, validation, seed)


def validation_data(model: JGRP2O, config: JGRP2OConfig, hands: int, seed: int) -> HeadData:
    """Return the outputs of a network for crops of hands in poses that no training uses, and of other things.

    Two networks with the same configuration see the same crops. See `head_data`.
    """
    hand = HandModel(cached_hand_file())
    poses = cached_pose_bank(hand)[:_VALIDATION_POSES]
    sources = [_source(hand, poses, config, SceneRange(), seed + 20)]
    return _data(model, sources, _source(hand, poses, config, _OTHERS, seed + 30), hands, 0.0, seed)


def _source(hand: HandModel, poses: Tensor, config: JGRP2OConfig, scenes: SceneRange, seed: int) -> SyntheticHands:
    """Return a source of hands as a network with this configuration sees them."""
    return SyntheticHands(
        hand, poses, config.joint_layout, cube=config.cube, uv_scale=config.uv_scale, scenes=scenes, seed=seed
    )


def _data(
    model: JGRP2O, sources: list[SyntheticHands], others: SyntheticHands, count: int, smoothed: float, seed: int
) -> HeadData:
    """Return the outputs for `count` hands of these sources and for other things, of which a share is smoothed."""
    generator = np.random.default_rng(seed)
    elsewhere = OtherCrops(others, cached_bodies())
    hands = (sources[i % len(sources)].batch(_RENDERED)[0] for i in range(-(-count // _RENDERED)))
    number = round(count * _OTHERS_PER_HAND)
    return HeadData(
        _collect(_of_hands(model, hands, smoothed, generator), count, "hands"),
        _collect(_of_others(model, elsewhere, smoothed, generator), number, "other things"),
    )


def _collect(batches: Iterator[Outputs], count: int, name: str) -> Outputs:
    """Return the first `count` outputs of batches."""
    parts: list[Outputs] = []
    for start in range(0, count, _RENDERED):
        report(f"rendering {name} and running the network", start, count)
        parts.append(next(batches))
    return Outputs(*(torch.cat(tensors)[:count] for tensors in zip(*parts, strict=True)))


def _of_hands(
    model: JGRP2O, batches: Iterator[Tensor], smoothed: float, generator: np.random.Generator
) -> Iterator[Outputs]:
    """Yield the outputs for patches (N, 1, 96, 96) and their mirror images, of which a share is smoothed."""
    for batch in batches:
        patches = partly_smoothed(batch, smoothed, generator)
        both = [run(model, patches), run(model, patches.flip(3))]
        yield Outputs(*(torch.stack(tensors, dim=1) for tensors in zip(*both, strict=True)))


def _of_others(model: JGRP2O, crops: OtherCrops, smoothed: float, generator: np.random.Generator) -> Iterator[Outputs]:
    """Yield the outputs for other things, of which half are mirrored, because their arms are right ones."""
    while True:
        with torch.inference_mode():
            patches = partly_smoothed(crops.batch(_RENDERED), smoothed, generator)
            patches[::2] = patches[::2].flip(3)
        yield run(model, patches)


@torch.inference_mode()
def run(model: JGRP2O, patches: Tensor) -> Outputs:
    """Return the outputs of a network for patches (N, 1, 96, 96)."""
    uvz, spread, features = model(patches)
    return Outputs(features.half(), uvz.half(), spread.half())


def partly_smoothed(patches: Tensor, share: float, generator: np.random.Generator) -> Tensor:
    """Return patches (N, 1, 96, 96) of which about this share is smoothed, but not across edges."""
    smoothed = patches.numpy().copy()
    for i in np.flatnonzero(generator.random(len(smoothed)) < share):
        for _ in range(generator.integers(1, 4)):
            smoothed[i, 0] = cv2.bilateralFilter(smoothed[i, 0], 5, generator.uniform(0.04, 0.12), 2.0)
    return torch.from_numpy(smoothed)
