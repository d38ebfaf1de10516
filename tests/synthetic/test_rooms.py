"""The images that the localizer learns from."""

from __future__ import annotations

import numpy as np
import torch

from handpose.localization.localizer import voted_centers
from handpose.localization.network import MARGIN, OFFSET_MM
from handpose.synthetic.hand_model import HandModel
from handpose.synthetic.poses import draw_angles
from handpose.synthetic.rooms import Rooms, hand_targets, mirrored_views
from handpose.training.localizer import cell_points


def test_the_cells_of_a_hand_vote_for_its_center_in_the_mirror_too(hand: HandModel) -> None:
    poses = draw_angles(64, torch.Generator().manual_seed(0))
    views = Rooms(hand, poses, focal=80.0, size=(96, 128)).batch(64)
    assert views.depth.shape == (64, 96, 128)
    assert views.depth[:, :MARGIN].max() == views.depth[:, :, -MARGIN:].max() == 0.0
    shown = []
    for each in (views, mirrored_views(views)):
        points = cell_points(each.depth, each.principal)
        ours, target = hand_targets(points, each)
        ours &= points[..., 2] > 0
        voted = voted_centers(points[ours].double().numpy(), target[ours].double().numpy() / OFFSET_MM)
        centers = each.centers[ours.nonzero()[:, 0]].double().numpy()
        assert np.linalg.norm(voted[:, None] - centers, axis=-1).min(axis=1).max() < 0.1
        shown.append(int(ours.any(dim=1).sum()))
    assert min(shown) > 40  # of 64 images; in the others, no hand or none of its cells is visible
