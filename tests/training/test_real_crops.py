"""Augmented training crops of a data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from handpose.datasets.catalog import open_dataset
from handpose.datasets.crops import read_crops
from handpose.errors import HandPoseError
from handpose.io.choices import DatasetName, Split
from handpose.io.warn import SkippedFrameWarning
from handpose.training.augmentation import Move
from handpose.training.real_crops import DatasetCrops
from tests.helpers.datasets import write_icvl, write_msra, write_nyu


def test_unreadable_frames_are_replaced(tmp_path: Path) -> None:
    write_nyu(tmp_path, 6)
    for number in (4, 5):
        (tmp_path / f"test/depth_1_{number:07d}.png").write_bytes(b"no image")
    dataset = open_dataset("nyu", tmp_path, "test", centers="truth")
    source = DatasetCrops(dataset)
    with pytest.warns(SkippedFrameWarning) as warned:
        batches = [source.batch(8) for _ in range(5)]
    for patches, uvz in batches:
        assert patches.shape == (8, 1, 96, 96)
        assert uvz.shape == (8, 14, 3)
        assert torch.isfinite(uvz).all()
    assert set(source.unreadable) == {3, 4}
    named = [name for name in dataset.files for warning in warned if name in str(warning.message)]
    assert named == ["depth_1_0000004.png", "depth_1_0000005.png"]  # each once


@pytest.mark.filterwarnings("ignore::handpose.SkippedFrameWarning")
def test_batches_do_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    write_nyu(tmp_path, 5)
    (tmp_path / "test/depth_1_0000003.png").write_bytes(b"no image")
    dataset = open_dataset("nyu", tmp_path, "test", centers="truth")
    sources = [DatasetCrops(dataset, seed=7, workers=workers) for workers in (0, 2)]
    for _ in range(2):
        (patches, uvz), (patches2, uvz2) = (source.batch(7) for source in sources)
        assert torch.equal(patches, patches2)
        assert torch.equal(uvz, uvz2)
    sources[1].close()


def test_batches_depend_only_on_the_generator(tmp_path: Path) -> None:
    write_nyu(tmp_path)
    source = DatasetCrops(open_dataset("nyu", tmp_path, "test", centers="truth"), seed=1)
    first, second = source.batch(6)[0], source.batch(6)[0]
    assert not torch.equal(first, second)
    source.generator.manual_seed(1)
    source.seek(0)
    assert torch.equal(source.batch(6)[0], first)
    other = DatasetCrops(open_dataset("nyu", tmp_path, "test", centers="truth"), seed=1)
    other.batch(3)
    other.generator.manual_seed(1)
    other.seek(0)
    assert torch.equal(other.batch(6)[0], first)


@pytest.mark.parametrize(
    ("name", "write", "options"),
    [("icvl", write_icvl, {}), ("nyu", write_nyu, {}), ("msra", write_msra, {"subject": 3})],
)
def test_an_epoch_is_one_pass_in_random_order(
    tmp_path: Path, name: DatasetName, write: Callable[[Path], object], options: dict[str, int]
) -> None:
    """The depth of a ball's frame identifies it: without augmentation, every frame has one patch."""
    write(tmp_path)
    split: Split = "test" if name == "nyu" else "train"
    dataset = open_dataset(name, tmp_path, split, centers="truth", cube=250.0, **options)
    frames = len(dataset)
    own = {bytes(item.crop.patch): item.index for item in read_crops(dataset) if item.crop is not None}
    assert len(own) == frames
    source = DatasetCrops(dataset, augmentation=None, seed=5)
    order = [own[bytes(patch.numpy())] for _ in range(3 * frames) for patch in source.batch(1)[0][:, 0]]
    passes = [order[start : start + frames] for start in range(0, 3 * frames, frames)]
    assert [sorted(numbers) for numbers in passes] == [list(range(frames))] * 3
    assert len({*map(tuple, passes)}) > 1
    source.seek(frames + 1)  # as a resumed training does
    assert [own[bytes(patch.numpy())] for patch in source.batch(frames)[0][:, 0]] == order[frames + 1 : 2 * frames + 1]


def test_training_joints_stay_in_their_balls(tmp_path: Path) -> None:
    """Each joint is inside a ball of 12 mm, so after any move the surface is just in front of the joint."""
    write_nyu(tmp_path)
    dataset = open_dataset("nyu", tmp_path, "test", centers="truth")
    patches, uvz = DatasetCrops(dataset).batch(64)
    assert patches.dtype == uvz.dtype == torch.float32
    u, v = (uvz[..., :2] * 95).round().long().clamp(0, 95).unbind(-1)
    surface = patches[torch.arange(64)[:, None], 0, v, u]
    inside = ((uvz > 0.02) & (uvz < 0.98))[..., :2].all(-1) & (uvz[..., 2].abs() < 0.9)
    before = (uvz[..., 2] - surface)[inside] * 137.5  # mm, to the middle of the range of cubes
    assert inside.float().mean() > 0.9
    assert (before > 5.0).float().mean() > 0.97  # another ball may hide it
    assert 9.0 < before.median() < 15.0


@pytest.mark.filterwarnings("ignore::handpose.SkippedFrameWarning")
def test_a_data_set_without_usable_frames_is_rejected(tmp_path: Path) -> None:
    write_nyu(tmp_path, 2)
    for path in (tmp_path / "test").glob("*.png"):
        path.write_bytes(b"")
    dataset = open_dataset("nyu", tmp_path, "test", centers="truth")
    with pytest.raises(HandPoseError, match="2 frames of nyu test are unreadable, such as"):
        DatasetCrops(dataset).batch(3)
    for path in (tmp_path / "test").glob("*.png"):
        path.unlink()
    with pytest.raises(HandPoseError, match="none of the 2 frames of nyu test can be used; the first: no such file"):
        DatasetCrops(open_dataset("nyu", tmp_path, "test", centers="truth"))


def test_without_augmentation_a_crop_is_that_of_the_frame(tmp_path: Path) -> None:
    write_nyu(tmp_path, 1)
    dataset = open_dataset("nyu", tmp_path, "test", centers="truth", cube=250.0)
    patches, uvz = DatasetCrops(dataset, augmentation=None).batch(1)
    frame = dataset[0]
    crop = Move().cut(frame.depth, frame.camera, frame.center, 250.0)
    assert np.array_equal(patches[0, 0], crop.patch)
    assert np.allclose(uvz[0], crop.normalize(crop.camera.project(frame.xyz)), atol=1e-6)
