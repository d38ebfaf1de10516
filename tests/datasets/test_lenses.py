"""Frames of distorted lenses in a data set have the crops and labels of frames without distortion."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handpose.datasets.crops import read_crops
from handpose.datasets.records import RecordDataset, open_records
from handpose.geometry.camera import Camera
from handpose.geometry.distortion import Distortion
from handpose.io.choices import Hand
from handpose.training.augmentation import Augmentation, Move
from handpose.training.real_crops import DatasetCrops
from tests.helpers.datasets import joints, png16
from tests.helpers.scenes import AZURE_KINECT, render_balls

# Its tangential terms make the mirror image of this lens another lens.
TANGENTIAL = Camera(
    *(400.0, 410.0, 300.0, 250.0, 640, 480), distortion=Distortion("brown_conrady", (-0.25, 0.08, 0.02, -0.03))
)
PINHOLE = Camera(450.0, 450.0, 319.5, 239.5, 640, 480)
OFF_AXIS = np.array([110.0, -60.0, 0.0])


def dataset(folder: Path, camera: Camera, xyz: np.ndarray, hand: Hand, *, in_pixels: bool) -> RecordDataset:
    """A frame of balls at the joints, with its labels in pixels or in mm."""
    png16(folder / "frame.png", 10.0 * render_balls(camera, [(joint, 14.0) for joint in xyz]))
    labels: dict[str, Any] = {"uvz": camera.project(xyz).tolist()} if in_pixels else {"xyz_mm": xyz.tolist()}
    values = {"source": "frame.png", "layout": "msra", "camera": camera.to_dict(), "hand": hand, "unit": 0.1}
    (folder / "labels.jsonl").write_text(json.dumps(values | labels | {"center_mm": xyz.mean(0).tolist()}))
    return open_records(folder / "labels.jsonl", "train")


@pytest.mark.parametrize("camera", [AZURE_KINECT, TANGENTIAL])
@pytest.mark.parametrize("hand", ["right", "left"])
def test_crops_of_a_distorted_lens_are_those_without_it(tmp_path: Path, camera: Camera, hand: Hand) -> None:
    xyz = joints(21, 0) + OFF_AXIS
    (tmp_path / "lens").mkdir()
    (tmp_path / "pinhole").mkdir()
    with_lens = dataset(tmp_path / "lens", camera, xyz, hand, in_pixels=True)
    without = dataset(tmp_path / "pinhole", PINHOLE, xyz, hand, in_pixels=False)
    assert np.allclose(with_lens.xyz, xyz, atol=1e-3)

    pairs = []
    for frames in (with_lens, without):
        (item,) = read_crops(frames)
        assert item.crop is not None
        assert item.uvz is not None
        patches, targets = DatasetCrops(frames, augmentation=Augmentation(), seed=5).batch(4)
        pairs.append((np.stack([item.crop.patch, *patches[:, 0].numpy()]), np.stack([item.uvz, *targets.numpy()])))
    (patches, targets), (expected, truth) = pairs
    assert np.abs(targets - truth).max() < 2e-4  # 0.02 px of the patch, 0.03 mm
    hand_pixels, expected_pixels = patches < 1.0, expected < 1.0
    both = hand_pixels & expected_pixels
    assert both.sum() / (hand_pixels | expected_pixels).sum() > 0.9  # outlines differ by a pixel
    assert np.median(np.abs(patches - expected)[both]) * 125.0 < 1.0  # mm

    # A crop without a move is the one that is used in evaluation.
    frame = with_lens[0].as_right()
    assert frame.center is not None
    same = Move().cut(frame.depth, frame.camera, frame.center, frame.cube)
    assert (same.patch != patches[0]).mean() < 0.01
