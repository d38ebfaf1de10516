"""The timing models have the sizes that are published for what they are made of."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from torch import nn

from tests.helpers.paths import ROOT

spec = importlib.util.spec_from_file_location("peers", ROOT / "benchmarks" / "peers.py")
assert spec is not None
assert spec.loader is not None
peers = importlib.util.module_from_spec(spec)
spec.loader.exec_module(peers)


def test_the_trunk_is_resnet_50() -> None:
    """25,557,032 parameters with its classifier of 1,000 classes, and 4.09 GMAC at 224 x 224 (torchvision's table)."""

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk, self.classes = peers.ResNet50(dilate_last=False), nn.Linear(2048, 1000)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.classes(self.trunk(x)[1].mean((2, 3)))

    parameters, work = peers.size_of(Classifier, (1, 224, 224))
    assert parameters == 25_557_032
    assert work / 2 == pytest.approx(4.09, abs=0.01)


def test_jgr_p2o_has_the_paper_s_size() -> None:
    parameters, work = peers.size_of(*peers.MODELS["JGR-P2O"])
    assert parameters == 1_365_244
    assert work == pytest.approx(0.737, rel=0.03)  # the count here leaves out what is no product


def test_peers_give_what_their_papers_say() -> None:
    shapes = {name: (make, shape) for name, (make, shape) in peers.MODELS.items() if name != "JGR-P2O"}
    outputs = {"A2J": (2, 14, 3), "CrossInfoNet": (2, 42), "ResNet-50": (2, 42), "V2V-PoseNet": (2, 14, 44, 44, 44)}
    with torch.device("meta"):
        for name, (make, shape) in shapes.items():
            assert make().eval()(torch.zeros(2, *shape)).shape == outputs[name.split(" ")[0]]


def test_a2j_is_resnet_50_without_its_classifier_and_three_branches() -> None:
    branches = 0
    for inside, outside in ((2048, 2 * 16 * 14), (2048, 16 * 14), (1024, 16 * 14)):  # 16 anchors a cell, 14 joints
        branches += 9 * 256 * (inside + 3 * 256) + 4 * 3 * 256  # four 3x3 convolutions with bias, BatchNorm's two
        branches += 9 * 256 * outside + outside
    parameters, _ = peers.size_of(*peers.MODELS["A2J (timing model)"])
    assert parameters == 25_557_032 - (2048 + 1) * 1000 + branches


def test_crossinfonet_is_mostly_its_fully_connected_layers() -> None:
    """Its width is in them: 12 x 12 pixels of 256 features, halved and flattened, to 1024, to 1024, twice."""
    connected = 2 * (6 * 6 * 256 * 1024 + 1024 * 1024 + 2 * 2 * 1024) + 2048 * 42 + 42
    parameters, work = peers.size_of(*peers.MODELS["CrossInfoNet (timing model)"])
    assert connected < parameters < 1.12 * connected
    assert 2e-9 * connected < work


def test_v2v_posenet_is_the_sum_of_its_layers() -> None:
    """Layer by layer, as (input, output, kernel, side of what the kernel visits)."""

    def residual(inside: int, outside: int, side: int) -> list[tuple[int, int, int, int]]:
        skip = [(inside, outside, 1, side)] if inside != outside else []
        return [(inside, outside, 3, side), (outside, outside, 3, side), *skip]

    normalised = [(1, 16, 7, 88), *residual(16, 32, 44), *4 * residual(32, 32, 44), *2 * [(32, 32, 1, 44)]]
    normalised += [*residual(32, 64, 22), *2 * residual(64, 64, 22), (64, 32, 2, 22)]
    normalised += [*residual(64, 128, 11), *2 * residual(128, 128, 11), (128, 64, 2, 11)]
    layers = [*normalised, (32, 14, 1, 44)]
    parameters, work = peers.size_of(*peers.MODELS["V2V-PoseNet (timing model)"])
    biases = sum(outside for _, outside, _, _ in layers) + 2 * sum(outside for _, outside, _, _ in normalised)
    assert parameters == sum(i * o * k**3 for i, o, k, _ in layers) + biases
    assert 1e9 * work == pytest.approx(2 * sum(i * o * (k * side) ** 3 for i, o, k, side in layers), rel=1e-12)
