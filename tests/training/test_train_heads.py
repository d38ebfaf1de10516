from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from handpose.errors import WeightsError
from handpose.network.config import JGRP2OConfig
from handpose.network.heads import PatchHead, head_shapes
from handpose.training.head_outputs import Outputs
from handpose.training.heads import fit_heads
from handpose.weights.folder import MODEL_FILE, read_folder, write_folder
from handpose.weights.heads_file import HEADS_FILE, heads_bytes, read_heads
from tests.helpers.heads import CONFIG, planted


def log_odds(head: PatchHead, given: Outputs) -> np.ndarray:
    return head.log_odds(*(tensor.float().numpy() for tensor in given))


def test_heads_learn_what_hands_are_and_which_are_right_ones(tmp_path: Path) -> None:
    validation = planted(400, 1)
    result = fit_heads(planted(2000, 0), validation, CONFIG)
    # The sum of the 32 channels is 32 higher for right hands than for left ones, and its standard deviation is 11.3.
    assert result.single > 0.85
    assert result.compared > 0.95
    assert min(result.hands, result.others) > 0.85
    write_folder(tmp_path / "model", CONFIG, {"any": np.zeros(3, np.float32)})
    weights = read_folder(tmp_path / "model", "model")
    (tmp_path / "model" / HEADS_FILE).write_bytes(heads_bytes(result.heads, weights.sha256))
    heads = weights.heads()
    assert heads is not None
    right, left = (log_odds(heads.side, validation.hands.select((slice(None), side))) for side in (0, 1))
    # The stored heads, in float16 and numpy, classify like the trained ones, and their log-odds are calibrated.
    assert np.concatenate([right > 0, left < 0]).mean() == pytest.approx(result.single, abs=0.01)
    assert (right > left).mean() == pytest.approx(result.compared, abs=0.01)
    likely = 1 / (1 + np.exp(-np.abs(np.concatenate([right, left]))))
    assert likely.mean() == pytest.approx(result.single, abs=0.05)
    hands = np.concatenate([log_odds(heads.hand, validation.hands.select((slice(None), side))) for side in (0, 1)])
    others = log_odds(heads.hand, validation.others)
    assert (hands > 0).mean() == pytest.approx(result.hands, abs=0.01)
    assert (others < 0).mean() == pytest.approx(result.others, abs=0.01)
    likely = 1 / (1 + np.exp(-np.abs(np.concatenate([hands[::4], others]))))
    assert likely.mean() == pytest.approx((result.hands + result.others) / 2, abs=0.05)
    (tmp_path / "model" / MODEL_FILE).write_bytes(b"other weights")
    with pytest.warns(UserWarning, match="these heads belong to other weights, and are not used"):
        assert weights.heads() is None


def test_damaged_heads_are_refused() -> None:
    shapes = head_shapes(CONFIG)
    heads = fit_heads(planted(64, 0), planted(64, 1), CONFIG).heads
    assert {name: tensor.shape for name, tensor in heads.to_tensors().items()} == shapes
    content = heads_bytes(heads, "abc")
    assert read_heads(content, CONFIG, "abd") is None
    with pytest.raises(WeightsError, match="the heads of a nyu network"):
        read_heads(content, JGRP2OConfig("nyu"), "abc")
    for damaged in (content[:-1], content[:100], b"", b"\xff" * 64):
        with pytest.raises(WeightsError, match="not readable heads"):
            read_heads(damaged, CONFIG, "abc")
