from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest

from handpose import Camera, InputWarning
from handpose.evaluation import named_shapes, on_synthetic
from handpose.geometry.layouts import MSRA21
from handpose.io.warn import warn
from handpose.synthetic.testset import SyntheticFrame

XYZ = np.random.default_rng(0).normal(500.0, 40.0, (21, 3))


class Doubtful:
    """Predicts the true joints, and warns about each image."""

    layout, name = MSRA21, "doubtful"

    def predict(self, depth: np.ndarray, **options: object) -> object:
        warn("looks like a left hand", InputWarning)
        return SimpleNamespace(xyz=XYZ)


def test_synthetic_images_have_no_warnings_about_the_input(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = SyntheticFrame(np.zeros((2, 2)), Camera(1, 1, 0, 0), XYZ)

    def images(_: object, count: int) -> Iterator[SyntheticFrame]:
        yield from [frame] * count

    monkeypatch.setattr(on_synthetic, "synthetic_testset", images)
    monkeypatch.setattr(named_shapes, "named_testset", lambda *_: iter([("fist", frame)]))
    result = on_synthetic.evaluate_synthetic(Doubtful(), 2)  # type: ignore[arg-type] # warnings are errors
    assert result.localized.mean == result.given.mean == 0.0
    assert named_shapes.finger_state_shares(Doubtful(), 1)["fist"][0] == 1.0  # type: ignore[arg-type]
