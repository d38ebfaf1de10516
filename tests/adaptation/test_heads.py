"""The heads of tuned weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from handpose.adaptation.heads import fractions, write_heads
from handpose.adaptation.outcome import Measure, Tuned, find_measured, note_measured
from handpose.errors import HandPoseError
from handpose.network.heads import Heads, PatchHead
from handpose.network.model import JGRP2O
from handpose.training.head_outputs import HeadData
from handpose.training.heads import HeadsResult, fit_heads
from handpose.weights.folder import Weights, read_folder, write_folder
from handpose.weights.heads_file import HEADS_FILE, heads_bytes
from tests.helpers.heads import CONFIG, planted

TUNED = 2.0  # a weight that marks the tuned network


def turned(data: HeadData) -> HeadData:
    """Return outputs with the channels of a network that has forgotten which one is for what."""
    return HeadData(*(part._replace(features=part.features.flip(-1)) for part in data))


def write_model(folder: Path, marker: float) -> Weights:
    network = JGRP2O(CONFIG)
    with torch.no_grad():
        next(network.parameters()).fill_(marker)
    write_folder(folder, CONFIG, {name: value.numpy() for name, value in network.state_dict().items()})
    return read_folder(folder, folder.name)


class Case:
    """The models before and after, and whether the tuned network computes other features than the initial one."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, *, changed: bool, with_heads: bool = True
    ) -> None:
        self.start, self.tuned = write_model(folder / "start", 1.0), write_model(folder / "tuned", TUNED)
        self.folder = folder / "tuned"
        self.trained = list[str]()
        self.checked, samples = planted(400, 1), planted(2000, 0)

        def outputs(network: nn.Module, *_: object) -> HeadData:
            is_tuned = float(next(network.parameters()).flatten()[0].detach()) == TUNED
            return turned(self.checked) if is_tuned and changed else self.checked

        def train(weights: Weights, *, crops: int) -> HeadsResult:
            self.trained.append(weights.sha256)
            return fit_heads(turned(samples), turned(self.checked), CONFIG)

        monkeypatch.setattr("handpose.adaptation.heads.validation_data", outputs)
        monkeypatch.setattr("handpose.adaptation.heads.train_heads", train)
        if with_heads:
            heads = fit_heads(samples, self.checked, CONFIG).heads
            self.start.model_file.with_name(HEADS_FILE).write_bytes(heads_bytes(heads, self.start.sha256))


def side_tensor(weights: Weights) -> np.ndarray:
    heads = weights.heads()
    assert heads is not None
    return heads.side.hidden


def test_heads_that_are_as_good_as_before_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(tmp_path, monkeypatch, changed=False)
    result = write_heads(case.start, case.folder)
    assert result is not None
    assert result.kept
    assert case.trained == []
    assert result.sides > 0.95
    assert str(result).startswith(f"kept the heads: on synthetic crops, {result.sides:.1%} of the sides, ")
    # They belong to the tuned weights now, and to the initial ones as before.
    assert np.array_equal(side_tensor(case.tuned), side_tensor(case.start))
    assert case.tuned.sha256 != case.start.sha256


@pytest.mark.parametrize("with_heads", [True, False])
def test_heads_that_do_not_fit_are_trained_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_heads: bool
) -> None:
    case = Case(tmp_path, monkeypatch, changed=True, with_heads=with_heads)
    result = write_heads(case.start, case.folder)
    assert result is not None
    assert not result.kept
    assert case.trained == [case.tuned.sha256]
    assert result.sides > 0.95  # with the heads of the initial weights, it would be near one half
    heads = case.tuned.heads()
    assert heads is not None
    assert fractions(heads, turned(case.checked))[0] == pytest.approx(result.sides, abs=0.01)
    assert "trained new heads" in str(result)


def test_heads_that_were_trained_since_are_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command of a complete training, run again, must not replace better heads of `handpose train-heads`."""
    case = Case(tmp_path, monkeypatch, changed=False)
    write_heads(case.start, case.folder)
    better = fit_heads(planted(500, 3), case.checked, CONFIG).heads
    (case.folder / HEADS_FILE).write_bytes(heads_bytes(better, case.tuned.sha256))
    result = write_heads(case.start, case.folder)
    assert result is not None
    assert not result.kept
    assert np.allclose(side_tensor(case.tuned), better.side.hidden, atol=1e-2)
    assert not np.allclose(side_tensor(case.tuned), side_tensor(case.start), atol=1e-2)


def test_the_model_remains_usable_without_heads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(tmp_path, monkeypatch, changed=False, with_heads=False)

    def fail(*_: object, **__: object) -> HeadsResult:
        raise HandPoseError("planted")

    monkeypatch.setattr("handpose.adaptation.heads.train_heads", fail)
    with pytest.warns(UserWarning, match=r"tuned: the model has no heads, .*: planted"):
        assert write_heads(case.start, case.folder) is None
    assert case.tuned.heads() is None
    case.tuned.load()


def constant(log_odds: float) -> PatchHead:
    """Return a head with the same answer for every patch."""
    shapes = ((2, 8, 16), (2, 1, 16), (2 * 16 * 16 + 96, 32), (32,), (32,))
    return PatchHead(*(np.zeros(shape) for shape in shapes), np.array(log_odds))


@pytest.mark.parametrize(("log_odds", "accepted"), [(3.9, 0.0), (4.1, 1.0)])
def test_hands_count_as_such_at_the_limit_that_an_estimator_uses(log_odds: float, accepted: float) -> None:
    data = planted(4, 0)
    side = constant(0.0)
    heads = Heads(constant(log_odds), side, np.array(1.0))
    assert fractions(heads, data)[1:] == (accepted, 1.0 - accepted)


def test_after_an_interruption_only_the_heads_are_made(tmp_path: Path) -> None:
    """The measured values are found as long as the model folder has the best weights of the run."""
    best, model = write_model(tmp_path / "blend", TUNED), tmp_path / "model"
    assert find_measured(tmp_path, model, best) is None
    best.save(model)
    result = Tuned(40, 10, model, (Measure("mean error in mm", 12.0, 9.0),))
    note_measured(tmp_path, result)
    assert find_measured(tmp_path, model, best) == result
    other = write_model(tmp_path / "other", 1.0)
    assert find_measured(tmp_path, model, other) is None
    other.save(model, force=True)
    assert find_measured(tmp_path, model, other) is None  # its values are those of other weights
    assert find_measured(tmp_path, model, best) is None
