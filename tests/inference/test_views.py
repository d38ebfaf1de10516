"""Averaging over views: an exact inverse of every turn, pooled votes, one batch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from handpose import Camera, HandPoseError, HandPoseEstimator, read_depth
from handpose.cli.main import app
from handpose.inference.views import predict_views
from handpose.runtimes.base import Runtime
from tests.helpers.paths import EXAMPLES

MARKS = np.array([[10, 20], [50, 70], [90, 5]])  # row, column


def marked() -> np.ndarray:
    """A patch whose three pixels -0.3, -0.5 and -0.7 are the joints."""
    patch = np.ones((96, 96), np.float32)
    patch[MARKS[:, 0], MARKS[:, 1]] = [-0.3, -0.5, -0.7]
    return patch


class Reader(Runtime):
    """A network that reads where the marks are, with a spread that is 0.01 in u, 0.02 in v and 0.03 in z."""

    def __init__(self, scale: float) -> None:
        self.scale = scale
        self.batches: list[int] = []

    def pose(self, patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.batches.append(len(patches))
        uvz = np.empty((len(patches), 3, 3))
        for n, patch in enumerate(patches[:, 0]):
            for joint, value in enumerate(np.float32([-0.3, -0.5, -0.7])):
                ((row, column),) = np.argwhere(patch == value)
                uvz[n, joint] = column / self.scale, row / self.scale, value
        return uvz, np.broadcast_to([0.01, 0.02, 0.03], uvz.shape)


class Contrary(Runtime):
    """A network that sees a depth of 0.1 in an upright patch, and of -0.1 in one that is turned."""

    def pose(self, patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        uvz = np.full((len(patches), 1, 3), 0.5)
        uvz[:, :, 2] = np.where(patches[:, 0, 0, 0] == 1.0, 0.1, -0.1)[:, None]
        return uvz, np.full_like(uvz, 0.2)


@pytest.mark.parametrize("scale", [95.0, 96.0])
@pytest.mark.parametrize("views", [1, 2, 4])
def test_every_turn_is_undone_exactly(views: int, scale: float) -> None:
    network = Reader(scale)
    uvz, spread = predict_views(network.pose, [marked(), marked()], views, scale)
    assert network.batches == [2 * views]
    expected = np.c_[MARKS[:, 1] / scale, MARKS[:, 0] / scale, [-0.3, -0.5, -0.7]]
    assert np.allclose(uvz, expected, atol=1e-6)
    # A quarter turn swaps the axes of the image: over four views both have the mean variance.
    across = np.sqrt((0.01**2 + 0.02**2) / 2)
    assert np.allclose(spread, [across, across, 0.03] if views == 4 else [0.01, 0.02, 0.03])


def test_views_that_disagree_are_averaged() -> None:
    patch = np.zeros((96, 96), np.float32)
    patch[0, 0] = 1.0
    uvz, spread = predict_views(Contrary().pose, [patch], 2, 95.0)
    assert uvz[0, 0, 2] == pytest.approx(0.0)
    assert spread[0, 0, 2] == pytest.approx(0.2)


def test_the_command_averages_over_views(tmp_path: Path) -> None:
    command = ["predict", str(EXAMPLES / "open.png"), "-c", str(EXAMPLES / "camera.json"), "--device", "cpu"]
    records = []
    for views in ("1", "4"):
        done = CliRunner().invoke(app, [*command, "--views", views])
        records.append(json.loads(done.stdout))
    apart = np.linalg.norm(np.subtract(*(record["xyz_mm"] for record in records)), axis=1)
    assert 0.0 < apart.mean() < 5.0
    wrong = CliRunner().invoke(app, [*command, "--views", "3"])
    assert isinstance(wrong.exception, HandPoseError)
    assert "views must be 1, 2 or 4, got 3" in str(wrong.exception)


@pytest.mark.parametrize("command", [("check",), ("benchmark", "--backend", "onnxruntime")])
def test_other_commands_accept_views(command: tuple[str, ...]) -> None:
    pytest.importorskip("onnxruntime")
    arguments = [*command, str(EXAMPLES / "open.png"), "-c", str(EXAMPLES / "camera.json"), "--device", "cpu"]
    wrong = CliRunner().invoke(app, [*arguments, "--views", "3"])
    assert isinstance(wrong.exception, HandPoseError)
    assert "views must be 1, 2 or 4, got 3" in str(wrong.exception)


def test_an_estimator_with_views_finds_the_example_hand() -> None:
    camera = Camera.parse(str(EXAMPLES / "camera.json"))
    depth = read_depth(EXAMPLES / "open.png")
    one, four = (HandPoseEstimator.from_pretrained("msra", device="cpu", views=n) for n in (1, 4))
    poses = [estimator.predict(depth, camera=camera) for estimator in (one, four)]
    apart = np.linalg.norm(poses[0].xyz - poses[1].xyz, axis=1)
    assert 0.0 < apart.mean() < 5.0
    with pytest.raises(HandPoseError, match="views must be 1, 2 or 4, got 3"):
        HandPoseEstimator.from_pretrained("msra", views=3)  # type: ignore[arg-type]
