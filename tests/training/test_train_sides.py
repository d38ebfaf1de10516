from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from handpose.errors import WeightsError
from handpose.network.config import JGRP2OConfig
from handpose.network.side_head import head_shapes
from handpose.training.sides import SideOutputs, fit_side_head
from handpose.weights.folder import MODEL_FILE, read_folder, write_folder
from handpose.weights.side_file import SIDES_FILE, read_side_head, side_head_bytes

CONFIG = JGRP2OConfig("icvl", features=8)


def planted(hands: int, seed: int) -> SideOutputs:
    """Return outputs in which one channel of each joint is 0.5 for right hands and -0.5 for left ones, plus noise."""
    generator = torch.Generator().manual_seed(seed)
    features = 3.0 + 2.0 * torch.randn(hands, 2, 2, 16, 8, generator=generator)
    features[..., 5] += torch.tensor([0.5, -0.5])[:, None, None]
    pose = torch.rand(2, hands, 2, 16, 3, generator=generator)
    return SideOutputs(features.half(), pose[0].half(), pose[1].half())


def test_a_head_learns_the_difference_between_hands_and_mirror_images(tmp_path: Path) -> None:
    validation = planted(400, 1)
    result = fit_side_head(planted(2000, 0), validation, CONFIG)
    # The sum of the 32 channels is 32 higher for right hands, and its standard deviation is 11.3.
    assert result.single > 0.85
    assert result.compared > 0.95
    write_folder(tmp_path / "model", CONFIG, {"any": np.zeros(3, np.float32)})
    weights = read_folder(tmp_path / "model", "model")
    (tmp_path / "model" / SIDES_FILE).write_bytes(side_head_bytes(result.head, weights.sha256))
    head = weights.side_head()
    assert head is not None
    right, left = (head.log_odds(*(tensor[:, side].float().numpy() for tensor in validation)) for side in (0, 1))
    # The stored head, in float16 and numpy, classifies like the trained one, and its log-odds are calibrated.
    assert np.concatenate([right > 0, left < 0]).mean() == pytest.approx(result.single, abs=0.01)
    assert (right > left).mean() == pytest.approx(result.compared, abs=0.01)
    likely = 1 / (1 + np.exp(-np.abs(np.concatenate([right, left]))))
    assert likely.mean() == pytest.approx(result.single, abs=0.05)
    (tmp_path / "model" / MODEL_FILE).write_bytes(b"other weights")
    assert weights.side_head() is None


def test_damaged_heads_are_refused() -> None:
    tensors = {name: np.zeros(shape, np.float32) for name, shape in head_shapes(CONFIG).items()}
    head = fit_side_head(planted(64, 0), planted(64, 1), CONFIG).head
    assert {name: tensor.shape for name, tensor in head.to_tensors().items()} == {
        name: tensor.shape for name, tensor in tensors.items()
    }
    content = side_head_bytes(head, "abc")
    assert read_side_head(content, CONFIG, "abd") is None
    with pytest.raises(WeightsError, match="the side head of a nyu network"):
        read_side_head(content, JGRP2OConfig("nyu"), "abc")
    for damaged in (content[:-1], content[:100], b"", b"\xff" * 64):
        with pytest.raises(WeightsError, match="not a readable side head"):
            read_side_head(damaged, CONFIG, "abc")
