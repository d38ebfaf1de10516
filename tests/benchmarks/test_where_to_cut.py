"""The cutter that runs on a device cuts what the package cuts."""

from __future__ import annotations

import importlib.util

import numpy as np
import torch

from handpose import Camera, HandCrop
from tests.helpers.paths import EXAMPLES, ROOT

spec = importlib.util.spec_from_file_location("where_to_cut", ROOT / "benchmarks" / "where_to_cut.py")
assert spec is not None
assert spec.loader is not None
where_to_cut = importlib.util.module_from_spec(spec)
spec.loader.exec_module(where_to_cut)


def test_patches_are_the_package_s() -> None:
    camera = Camera.parse(str(EXAMPLES / "camera.json"))
    rng = np.random.default_rng(0)
    frames = [(rng.integers(300, 800, (480, 640)) * (rng.random((480, 640)) > 0.1)).astype(np.uint16) for _ in range(3)]
    centers = np.array([[0.0, 0.0, 500.0], [-250.0, 190.0, 450.0], [400.0, -10.0, 700.0]])  # two beyond the border
    cutter = where_to_cut.Cutter(torch.device("cpu"), 4, camera, 250.0)
    for _ in range(2):
        patches = cutter(frames, centers)
        assert patches.shape == (3, 1, 96, 96)
        for patch, frame, center in zip(patches, frames, centers, strict=True):
            expected = HandCrop.cut(frame, camera, center, 250.0).patch
            assert np.ptp(expected) > 0.5
            assert np.abs(patch[0].numpy() - expected).max() < 1e-6
