"""Training of the pose network on synthetic hands."""

from __future__ import annotations

from torch import Tensor

from handpose.network.config import JGRP2OConfig
from handpose.synthetic.hand_file import cached_hand_file
from handpose.synthetic.hand_model import HandModel
from handpose.synthetic.hands import TRAINING_SCENES, SceneRange, SyntheticHands
from handpose.synthetic.poses import cached_pose_bank, cached_training_poses
from handpose.training.config import TrainingConfig
from handpose.training.pose_task import PoseTask
from handpose.training.transfer import initial_state
from handpose.weights.folder import Weights

_VALIDATION_POSES = 1000


def synthetic_task(
    network: JGRP2OConfig,
    config: TrainingConfig,
    device: str = "cpu",
    *,
    start: Weights | None = None,
    validation_crops: int = 600,
) -> PoseTask:
    """Return the task of training on synthetic hands; the poses and noise of its validation crops differ.

    Args:
        network: Configuration of the network.
        config: Training settings.
        device: Device of the network and of the renderer.
        start: Initial weights, of any joint layout.
        validation_crops: Number of validation crops.

    Raises:
        HandPoseError: The network has other dimensions than the initial weights; or the hand model does not exist yet,
            and generating it requires the extra `train`.
    """
    hand = HandModel(cached_hand_file(), device)
    on_cpu = HandModel(cached_hand_file())

    def crops(poses: Tensor, scenes: SceneRange) -> SyntheticHands:
        return SyntheticHands(
            hand,
            poses,
            network.joint_layout,
            cube=network.cube,
            uv_scale=network.uv_scale,
            scenes=scenes,
            seed=config.seed,
        )

    training = crops(cached_training_poses(on_cpu), TRAINING_SCENES)
    validation = crops(cached_pose_bank(on_cpu)[:_VALIDATION_POSES], SceneRange())
    state = None if start is None else initial_state(start, network)
    return PoseTask(network, config, training, validation.batch(validation_crops), device, state)
