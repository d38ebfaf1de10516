"""The shares of correct finger states, on hands whose joints and predictions are planted."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from handpose import Camera
from handpose.evaluation import named_shapes
from handpose.geometry.layouts import MSRA21, JointLayout
from handpose.synthetic.testset import SyntheticFrame

LONG = ("index", "middle", "ring", "pinky")


def planted_hand(bent: tuple[str, ...] = (), gap: float = 40.0) -> np.ndarray:
    """Joints (21, 3) of a flat hand, `gap` mm between neighboring tips, with some fingers folded back."""
    xyz = np.full((21, 3), (30.0, -300.0, 500.0))  # the wrist, far behind the knuckles
    for k, finger in enumerate((*LONG, "thumb")):
        for part, length in zip(("mcp", "pip", "dip", "tip"), (80.0, 110.0, 130.0, 150.0), strict=True):
            x = k * (20.0 + (gap - 20.0) * (length - 80.0) / 70.0)
            y = length if finger not in bent or part in ("mcp", "pip") else 190.0 - length
            xyz[MSRA21.joints.index(f"{finger}_{part}")] = x, y, 500.0
    return xyz


class Predictor:
    layout = MSRA21

    def __init__(self, poses: list[np.ndarray]) -> None:
        self.poses = iter(poses)

    def predict(self, depth: np.ndarray, *, camera: Camera, hand: str) -> object:
        return type("Pose", (), {"xyz": next(self.poses)})


def test_states_and_gaps_are_counted_per_name(monkeypatch: pytest.MonkeyPatch) -> None:
    truths = {"flat": planted_hand(gap=20.0), "five": planted_hand(), "fist": planted_hand(bent=LONG)}

    def frames(layout: JointLayout, per_name: int) -> Iterator[tuple[str, SyntheticFrame]]:
        for name, xyz in truths.items():
            yield from [(name, SyntheticFrame(np.zeros((2, 2)), Camera(1, 1, 0, 0), xyz))] * per_name

    monkeypatch.setattr(named_shapes, "named_testset", frames)
    nothing = np.full((21, 3), np.nan)
    predictions = [
        truths["flat"], truths["five"],  # the second is spread where it should be closed
        truths["five"], planted_hand(bent=("ring",)),  # one state is wrong
        truths["fist"], nothing,
    ]  # fmt: skip
    shares = named_shapes.finger_state_shares(Predictor(predictions), 2)  # type: ignore[arg-type]
    assert shares["flat"] == (1.0, 0.5)
    assert shares["five"][0] == pytest.approx(7 / 8)
    assert shares["fist"][0] == 0.5
    assert np.isnan(shares["fist"][1])
    assert named_shapes.describe_shares(shares) == [
        "finger states of 3 named hand shapes: 79.2% correct; gaps between extended neighbors: 75.0% correct",
        "finger states per shape: flat 100%, five 88%, fist 50%",
    ]
