"""Fixed sets of synthetic images: a test set, and a validation set for calibration."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from handpose.geometry.camera import Camera
from handpose.geometry.layouts import JointLayout
from handpose.io.cache import cached
from handpose.synthetic.hand_file import PhenotypeRange, cached_hand_file, compile_hand, default_hand_file
from handpose.synthetic.hand_model import HandModel
from handpose.synthetic.hand_shapes import SHAPES, TESTED_SHAPES
from handpose.synthetic.hands import SceneRange, SyntheticHands
from handpose.synthetic.poses import cached_named_poses, cached_pose_bank

SEED = 20_260
_PHENOTYPES = PhenotypeRange(age=(0.4, 0.95), body=(0.0, 1.0), local=0.9, reach=(125.0, 200.0))
_SCENES = SceneRange(distance=(250.0, 900.0), half_view=(0.3, 0.22), table=0.06, second_hand=0.05)
_MIN_VISIBLE = 1 / 3  # of the hand's near side; a hand that shows less could not be annotated
_POSES_PER_NAME = 16
_CAMERAS = (
    Camera(365.5, 365.5, 255.5, 211.5, 512, 424),  # time of flight
    Camera(476.0, 476.0, 313.7, 242.8, 640, 480),  # structured light
    Camera(385.0, 385.0, 318.0, 238.0, 640, 480),  # stereo
    Camera(241.4, 241.4, 160.0, 120.0, 320, 240),
)


class SyntheticFrame(NamedTuple):
    """A synthetic depth image of a right hand.

    Attributes:
        depth: (H, W) float32 mm.
        camera: Intrinsics of the image.
        xyz: (J, 3) true joints in the camera frame, in mm.
    """

    depth: np.ndarray
    camera: Camera
    xyz: np.ndarray


def synthetic_testset(layout: JointLayout, frames: int = 2000) -> Iterator[SyntheticFrame]:
    """Yield the first frames of the test set, with other shapes, poses, cameras and noise than the training data.

    The hands are right hands, of which at most two thirds are hidden. The set is the same on every machine up to
    float32 rounding.
    """
    hand, poses = testset_hand()
    return _rendered(hand, poses, layout, frames, SEED)


def synthetic_validation(layout: JointLayout, frames: int) -> Iterator[SyntheticFrame]:
    """Yield the first frames of the validation set: scenes like the test set's, in poses not used in training."""
    hand = HandModel(cached_hand_file())
    return _rendered(hand, cached_pose_bank(hand)[:1000], layout, frames, SEED + 1)


def named_testset(layout: JointLayout, per_name: int = 12) -> Iterator[tuple[str, SyntheticFrame]]:
    """Yield the test set of named hand shapes: each name with `per_name` images of it, from all sides.

    Hand shapes, scenes and cameras are those of `synthetic_testset`; the poses vary as people's do.
    """
    hand, _ = testset_hand()
    names, poses = cached_named_poses(hand, len(SHAPES) * _POSES_PER_NAME, SEED)
    for name in TESTED_SHAPES:
        own = poses[[i for i, other in enumerate(names) if other == name]]
        for frame in _rendered(hand, own, layout, per_name, SEED + 2):
            yield name, frame


def _rendered(hand: HandModel, poses: Tensor, layout: JointLayout, frames: int, seed: int) -> Iterator[SyntheticFrame]:
    source = SyntheticHands(hand, poses, layout, cube=250.0, uv_scale=95.0, scenes=_SCENES, seed=seed)
    count = 0
    for camera in itertools.cycle(_CAMERAS):
        with torch.inference_mode():
            depth, xyz, visible = source.frames(8, camera)
        for i in (visible > _MIN_VISIBLE).nonzero()[:, 0].tolist():
            if count == frames:
                return
            yield SyntheticFrame(depth[i].numpy(), camera, xyz[i].double().numpy())
            count += 1


def testset_hand() -> tuple[HandModel, Tensor]:
    """Return the hand model of the test set and its poses (P, B, 3) in degrees.

    They are generated on the first call, which requires the extra `train`.
    """
    file = default_hand_file().with_name("hand-test.npz")
    hand = cached(file, lambda: compile_hand(file, phenotypes=_PHENOTYPES, shapes=200, seed=SEED), HandModel)
    return hand, cached_pose_bank(hand, count=2_000, seed=SEED)
