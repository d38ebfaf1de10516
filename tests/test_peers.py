"""The timing models have the sizes that are published for what they are made of."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from conftest import ROOT
from torch import nn

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
    assert work == pytest.approx(4.09, abs=0.01)


def test_jgr_p2o_has_the_paper_s_size() -> None:
    parameters, work = peers.size_of(*peers.MODELS["JGR-P2O"])
    assert parameters == 1_365_244
    assert 2 * work == pytest.approx(0.737, rel=0.03)  # the count here leaves out what is no product


def test_peers_give_what_their_papers_say() -> None:
    shapes = {name: (make, shape) for name, (make, shape) in peers.MODELS.items() if name != "JGR-P2O"}
    outputs = {"A2J": (2, 14, 3), "ResNet-50": (2, 42), "V2V-PoseNet": (2, 14, 44, 44, 44)}
    with torch.device("meta"):
        for name, (make, shape) in shapes.items():
            assert make().eval()(torch.zeros(2, *shape)).shape == outputs[name.split(" ")[0]]
