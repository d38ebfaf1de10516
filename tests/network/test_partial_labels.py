"""The loss of partly labeled joints."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from handpose.evaluation.metrics import Evaluation
from handpose.network.config import JGRP2OConfig
from handpose.network.losses import pose_loss
from handpose.network.model import JGRP2O
from handpose.training.config import TrainingConfig
from handpose.training.pose_task import PoseTask
from tests.helpers.training import Balls, task


def test_unlabeled_joints_have_no_gradient() -> None:
    """Joint 3 has no label, and joint 5 no depth."""
    torch.manual_seed(0)
    patches, uvz = Balls(1).batch(2)
    network = JGRP2O(JGRP2OConfig("nyu", features=16))
    outputs = [
        output._replace(offsets=output.offsets.detach().requires_grad_(), uvz=output.uvz.detach().requires_grad_())
        for output in network.stack_outputs(patches)
    ]
    complete = pose_loss(outputs, uvz, patches)
    partial = uvz.clone()
    partial[:, 3], partial[:, 5, 2] = torch.nan, torch.nan
    loss = pose_loss(outputs, partial, patches)
    loss.backward()
    assert 0 < loss < complete
    for output in outputs:
        for gradient, joint_axis in ((output.uvz.grad, (1, 2)), (output.offsets.grad, (2, 1))):
            assert gradient is not None
            assert gradient.isfinite().all()
            per_joint = gradient.movedim(joint_axis, (0, 1)).flatten(2).abs().sum(2)  # (J, 3)
            zero = torch.zeros(14, 3, dtype=torch.bool)
            zero[3], zero[5, 2] = True, True
            assert torch.equal(per_joint == 0, zero)


def test_the_loss_of_complete_labels_is_unchanged() -> None:
    """It is the sum of the losses without joint 0 and with only joint 0."""
    torch.manual_seed(0)
    patches, uvz = Balls(1).batch(2)
    outputs = JGRP2O(JGRP2OConfig("nyu", features=16)).stack_outputs(patches)
    without, only = uvz.clone(), torch.full_like(uvz, torch.nan)
    without[:, 0], only[:, 0] = torch.nan, uvz[:, 0]
    parts = pose_loss(outputs, without, patches) + pose_loss(outputs, only, patches)
    assert torch.allclose(parts, pose_loss(outputs, uvz, patches))


def test_validation_measures_along_what_is_labeled() -> None:
    class Constant(torch.nn.Module):
        def forward(self, patches: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return torch.full((len(patches), 14, 3), 0.5), torch.zeros(len(patches), 14, 3)

    truth = torch.full((1, 14, 3), torch.nan)
    truth[0, 0] = torch.tensor([0.5, 0.5, 0.54])  # 5 mm behind in a cube of 250 mm
    truth[0, 1, :2] = torch.tensor([0.5, 0.5 + 96 / 95 * 0.06])  # 15 mm lower, at an unknown depth
    balls = task(TrainingConfig(1))
    metrics = PoseTask(balls.network, balls.config, balls.source, (torch.ones(1, 1, 96, 96), truth)).validate(
        Constant()  # type: ignore[arg-type]
    )
    assert metrics["mean_mm"] == pytest.approx(10.0, abs=1e-3)


def test_joints_without_a_label_are_excluded_from_errors() -> None:
    truth = np.zeros((3, 14, 3))
    truth[0, :7], truth[1, 7:] = np.nan, np.nan
    predicted = np.zeros((3, 14, 3))
    predicted[0, 7:, 0], predicted[1, :7, 1], predicted[2] = 4.0, 8.0, np.nan
    result = Evaluation.of(predicted, truth, partial=True)
    assert result.mean == pytest.approx(6.0)
    assert result.missing.tolist() == [2]
    assert result.per_joint == pytest.approx(np.repeat([8.0, 4.0], 7))
    assert result.success_rate(5.0) == pytest.approx(1 / 3)
    assert result.per_axis == pytest.approx([2.0, 4.0, 0.0])
    assert result.mean_centered == pytest.approx(0.0)
    assert result.to_dict()["mean_interval95_mm"] == [4.0, 8.0]
