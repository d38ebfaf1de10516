"""Training of the localization network, and its targets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from handpose.adaptation.claim import claimed
from handpose.cli.main import app
from handpose.errors import HandPoseError
from handpose.localization import localizer as localize
from handpose.localization import numpy_runtime
from handpose.synthetic.rooms import Views, hand_targets
from handpose.synthetic.shapes import Box, Ellipsoid, Plane, ellipsoid, unit
from handpose.training import localizer as localizer_training
from handpose.training.config import TrainingConfig
from handpose.training.localizer import LocalizerTask, VotesNetwork, cell_points, train_localizer, write_localizer
from handpose.training.pose_task import write_model
from handpose.training.trainer import train
from tests.helpers.faults_jobs import kill_at_renames
from tests.helpers.training import assert_same, ignore, task


def test_the_numpy_network_agrees_with_the_trained_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = VotesNetwork()
    for norm in network.norms.values():  # statistics that folding must include
        torch.nn.init.uniform_(norm.running_mean, -0.3, 0.3)
        torch.nn.init.uniform_(norm.running_var, 0.5, 2.0)
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
    view = torch.rand(96, 128) * 1500.0
    view[view < 300] = 0.0
    network.eval()
    with torch.no_grad():
        logits, offsets = network(view[None])
    save_file({name: tensor.float() for name, tensor in network.folded().items()}, tmp_path / "localizer.safetensors")
    monkeypatch.setattr("handpose.localization.network.WEIGHTS_FILE", tmp_path / "localizer.safetensors")
    numpy_runtime.convolution_weights.cache_clear()
    try:
        votes = localize.cell_values(numpy_runtime.votes_in_numpy(localize.coarse_channels(view.numpy()))[0])
    finally:
        numpy_runtime.convolution_weights.cache_clear()
    assert votes.shape == (48, 64, 4)
    # The folded weights are float16.
    assert np.abs(votes[..., 0].ravel() - logits[0].numpy()).max() < 5e-3
    assert np.abs(votes[..., 1:].reshape(-1, 3) - offsets[0].numpy()).max() < 5e-3


class FewRooms:
    """Walls behind the few cells of a hand, sampled with a generator like the synthetic rooms."""

    def __init__(self, *_: object, **__: object) -> None:
        self.generator = torch.Generator()

    def batch(self, count: int) -> Views:
        view = torch.full((count, 32, 32), 900.0) + torch.rand(count, 32, 32, generator=self.generator)
        view[:, 8:16, 8:16] = 400.0 + 100.0 * torch.rand(count, 1, 1, generator=self.generator)
        principal = torch.full((count, 2), 15.5)
        inner = [row * 16 + column for row in (5, 6) for column in (5, 6)]  # of the 4 x 4 cells of the hand
        bones = cell_points(view, principal)[:, inner]
        return Views(view, principal, bones, bones + 10.0)


@pytest.fixture(autouse=True)
def _few_rooms(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HandModel", "cached_hand_file"):
        monkeypatch.setattr(localizer_training, name, lambda *_: None)
    monkeypatch.setattr(localizer_training, "cached_pose_bank", lambda *_: [])
    monkeypatch.setattr(localizer_training, "Rooms", FewRooms)


def test_the_localizer_learns(tmp_path: Path) -> None:
    rows: list[dict[str, float]] = []
    config = TrainingConfig(120, batch=8, learning_rate=0.01, precision="float32", average=0.9, validate_every=20)
    train(tmp_path, LocalizerTask(config), rows.append)
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"]
    assert rows[-1]["recall"] > 0.7
    assert rows[-1]["precision"] > 0.7


def test_a_killed_training_of_the_localizer_resumes_exactly(tmp_path: Path) -> None:
    def run(folder: Path) -> None:
        train_localizer(folder, 2, ignore)

    run(tmp_path / "uninterrupted")
    with pytest.MonkeyPatch.context() as patch:
        kill_at_renames(patch, lambda k: run(tmp_path / f"killed{k}"))
    folders = list(tmp_path.glob("killed*"))
    assert len(folders) >= 4
    for folder in folders:
        run(folder)
        assert_same(folder, tmp_path / "uninterrupted")
        weights = [(run / "localizer.safetensors").read_bytes() for run in (folder, tmp_path / "uninterrupted")]
        assert weights[0] == weights[1]


def test_a_run_of_another_network_is_rejected(tmp_path: Path) -> None:
    train_localizer(tmp_path, 2, ignore)
    with pytest.raises(
        HandPoseError, match="contains a training run with steps 2, seed 0, not steps 3, seed 1; choose"
    ):
        train_localizer(tmp_path, 3, ignore, seed=1)
    with pytest.raises(HandPoseError, match="network 'localizer'"):
        train(tmp_path, task(TrainingConfig(2)), ignore)
    with pytest.raises(HandPoseError, match="expected an object with layout"):
        write_model(tmp_path, tmp_path / "model")
    with pytest.raises(HandPoseError, match="no checkpoint of the localizer"):
        write_localizer(tmp_path / "none", tmp_path / "localizer.safetensors")


def test_points_near_the_bones_of_a_hand_vote_for_its_center() -> None:
    view = torch.zeros(1, 96, 128)
    view[0, 40:60, 50:80] = 900.0
    principal = torch.tensor([[60.0, 40.0]])
    points = cell_points(view, principal)
    assert points.shape == (1, 48 * 64, 3)
    cell = 22 * 64 + 26
    at = points[0, cell]
    assert at.tolist() == pytest.approx([(53 - 60) / 80 * 900, (45 - 40) / 80 * 900, 900.0])
    bones = torch.stack([at + torch.tensor([0.0, 0.0, 15.0]), torch.full((3,), torch.inf)])[None]
    center = at + torch.tensor([30.0, -40.0, 20.0])
    ours, target = hand_targets(points, Views(view, principal, bones, center.expand(1, 2, 3)))
    assert ours[0, cell]
    assert ours.sum() == 1  # the next cells are 22.5 mm away, and 27 from the bone
    voted = localize.voted_centers(points[0, cell][None].numpy(), target[0, cell][None].numpy() / 100.0)
    assert voted[0].tolist() == pytest.approx(center.tolist(), abs=1e-3)
    assert target[~ours].abs().max() == 0.0


def test_a_box_matches_the_closed_form() -> None:
    grid = torch.linspace(-0.5, 0.5, 65)
    y, x = torch.meshgrid(grid, grid, indexing="ij")
    center, radii = torch.tensor([[0.0, 0.0, 500.0]]), torch.tensor([[100.0, 60.0, 40.0]])
    depth = Box(center, radii, torch.eye(3)[None]).coarse_depth(grid[None], grid[None])[0]
    inside = (x.abs() * 460 < 99.9) & (y.abs() * 460 < 59.9)
    assert torch.allclose(depth[inside], torch.tensor(460.0))
    outside = (x.abs() * 540 > 100.1) & (x.abs() * 460 > 100.1)
    assert depth[outside & (y.abs() < 0.1)].isinf().all()


def test_shapes_of_coarse_images_are_those_of_crops() -> None:
    generator = torch.Generator().manual_seed(0)
    count, size = 8, 64
    tangents = ((torch.arange(size) - 31.5) / 60.0).expand(count, -1)
    rays = torch.stack(
        [
            tangents[:, None].expand(-1, size, -1),
            tangents[..., None].expand(-1, -1, size),
            torch.ones(count, size, size),
        ],
        dim=-1,
    )
    center = torch.tensor([0.0, 0.0, 500.0]) + 60.0 * torch.randn(count, 3, generator=generator)
    radii = 20.0 + 100.0 * torch.rand(count, 3, generator=generator)
    basis = torch.linalg.qr(torch.randn(count, 3, 3, generator=generator))[0]
    depth, expected = (
        Ellipsoid(center, radii, basis).coarse_depth(tangents, tangents),
        ellipsoid(rays, center, radii, basis),
    )
    met = depth.isfinite() & expected.isfinite()
    assert met.sum() > 1000
    assert (depth.isfinite() != expected.isfinite()).sum() < 5  # rays that touch the rim
    assert (depth - expected)[met].abs().max() < 0.5
    plane = Plane(unit(torch.tensor([0.2, -0.1, 1.0])).expand(count, 3), torch.full((count,), 600.0))
    assert torch.allclose(plane.coarse_depth(tangents, tangents), plane.depth(rays), rtol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (3, 700), (424, 512), (1080, 1920)])
def test_cells_lie_on_the_rays_of_the_image(shape: tuple[int, int]) -> None:
    """The cells of a slanted plane lie on it for any image size and focal length."""
    height, width = shape
    camera = localize.Camera(370.0, 365.0, width / 2 - 3.0, height / 2 + 2.0, width, height)
    v, u = np.indices(shape)
    rays = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones(shape)], -1)
    normal = np.array([0.2, -0.1, 1.0])
    depth = (600.0 / (rays @ normal)).astype(np.float32)
    depth[(depth < 0) | (depth > 1900)] = 0
    view, rays = localize.coarse_view(depth, camera)
    assert view.shape[0] % 32 == view.shape[1] % 32 == 0
    assert rays.shape == (view.shape[0] // 2, view.shape[1] // 2, 2)
    for side in (0, 1):  # the image keeps away from every side
        seen = np.flatnonzero(view.any(axis=1 - side))
        assert seen[0] >= 6
        assert seen[-1] < view.shape[side] - 6
    points = localize.cell_points(rays.reshape(-1, 2), view[1::2, 1::2].ravel())
    there = points[:, 2] > 0
    assert np.allclose(points[there] @ normal, 600.0, rtol=1e-4)


def test_two_processes_do_not_train_in_one_folder(tmp_path: Path) -> None:
    with claimed(tmp_path, {"network": "localizer"}):
        error = CliRunner().invoke(app, ["train-localizer", str(tmp_path), "--steps", "1", "--device", "cpu"]).exception
    assert isinstance(error, HandPoseError)
    assert "another process" in str(error)
