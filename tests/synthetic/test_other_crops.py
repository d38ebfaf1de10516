"""Crops of other things than hands: people without hands, and what the head of the built-in weights says about them."""

from __future__ import annotations

import pytest
import torch

from handpose.geometry.layouts import MSRA21
from handpose.runtimes.pytorch import TorchRuntime
from handpose.synthetic.bodies import Bodies, compile_bodies
from handpose.synthetic.hand_model import HandModel
from handpose.synthetic.hands import SceneRange, SyntheticHands
from handpose.synthetic.other_crops import OtherCrops
from handpose.weights.resolve import find_weights


@pytest.fixture(scope="module")
def bodies(tmp_path_factory: pytest.TempPathFactory) -> Bodies:
    pytest.importorskip("anny", reason="needs the extra train")
    file = tmp_path_factory.mktemp("bodies") / "bodies.npz"
    compile_bodies(file, count=6, seed=1)
    return Bodies(file)


def hands(hand: HandModel, seed: int) -> SyntheticHands:
    poses = torch.zeros(1, hand.skin.shape[1], 3)
    scenes = SceneRange(distance=(250.0, 900.0), center_noise=8.0)
    return SyntheticHands(hand, poses, MSRA21, cube=250.0, uv_scale=95.0, scenes=scenes, seed=seed)


def test_people_stand_upright_face_the_camera_and_have_no_hands(bodies: Bodies) -> None:
    for body in bodies.vertices:
        head, other = body[bodies.head], body[bodies.other]
        assert 800.0 < float(body[:, 1].max() - body[:, 1].min()) < 2600.0
        assert head[:, 1].max() < other[:, 1].mean()  # y points down
        nose = head[head[:, 2].argmin()]
        assert nose[0].abs() < 15.0
        # The arms hang at an angle. Without the hands, their ends are thin: all vertices there belong to a wrist.
        end = body[body[:, 0] > body[:, 0].max() - 10.0]
        assert (end.max(0).values - end.min(0).values).max() < 100.0


def test_the_head_of_the_built_in_weights_tells_hands_from_other_things(hand: HandModel, bodies: Bodies) -> None:
    weights = find_weights("msra")
    heads, runtime = weights.heads(), TorchRuntime(weights, "cpu")
    assert heads is not None

    def log_odds(patches: torch.Tensor) -> torch.Tensor:
        uvz, spread, features = runtime.pose_and_features(patches.numpy())
        assert features is not None
        return torch.from_numpy(heads.hand.log_odds(features, uvz, spread))

    others = OtherCrops(hands(hand, 1), bodies)
    with torch.inference_mode():
        wrong = torch.cat([log_odds(others.batch(24)) for _ in range(6)])
        right = log_odds(hands(hand, 2).batch(96)[0])
    assert (wrong < 4.0).float().mean() > 0.95
    assert (right > 4.0).float().mean() > 0.95
