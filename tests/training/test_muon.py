"""Muon, compared with the polar decomposition and on a least-squares problem with a known solution."""

from __future__ import annotations

import pytest
import torch

from handpose.network.model import JGRP2O
from handpose.training.ablations import VARIANTS
from handpose.training.localizer import VotesNetwork
from handpose.training.muon import Muon, hidden_kernels, orthogonalize


@pytest.mark.parametrize("shape", [(16, 16), (16, 144), (96, 24)])
def test_orthogonalized_matrices_are_near_the_polar_factor(shape: tuple[int, int]) -> None:
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    ours = orthogonalize(matrices)
    u, _, vt = torch.linalg.svd(matrices, full_matrices=False)
    values = torch.linalg.svdvals(ours)
    assert values.min() > 0.5
    assert values.max() < 1.3
    cosine = (ours * (u @ vt)).sum((1, 2)) / (ours.norm(dim=(1, 2)) * (u @ vt).norm(dim=(1, 2)))
    assert cosine.min() > 0.97


def test_one_step_moves_a_kernel_by_the_scaled_orthogonal_gradient() -> None:
    kernel = torch.nn.Parameter(torch.zeros(8, 2, 1, 1))
    kernel.grad = torch.randn(8, 2, 1, 1, generator=torch.Generator().manual_seed(1))
    Muon([kernel], lr=0.1).step()
    expected = -0.1 * 2.0 * orthogonalize(kernel.grad.flatten(1))  # sqrt(8 rows / 2 columns) = 2
    assert torch.allclose(kernel.detach().flatten(1), expected, atol=1e-2)


def test_least_squares_problems_are_solved() -> None:
    generator = torch.Generator().manual_seed(2)
    truth, x = torch.randn(6, 4, generator=generator), torch.randn(256, 4, generator=generator)
    kernel = torch.nn.Parameter(torch.zeros(6, 4))
    optimizer = Muon([kernel])
    for step in range(300):
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / 300)
        optimizer.zero_grad()
        (x @ kernel.T - x @ truth.T).square().mean().backward()
        optimizer.step()
    assert (kernel - truth).abs().max() < 0.02


def other_kernels(model: torch.nn.Module) -> set[str]:
    """Names of the parameters with two or more dimensions that Muon does not train."""
    hidden = {id(parameter) for parameter in hidden_kernels(model)}
    return {name for name, parameter in model.named_parameters() if id(parameter) not in hidden and parameter.ndim > 1}


def test_first_voting_and_output_layers_are_not_hidden() -> None:
    votes = {f"reasonings.{i}.vote.weight" for i in (0, 1)}
    offsets = {f"heads.{i}.offsets.weight" for i in (0, 1)}
    ends = {"stem.conv.weight"} | offsets
    networks = {
        name: other_kernels(JGRP2O(VARIANTS[name].config("nyu", features=16)))
        for name in ("skeleton", "parameterized", "attention", "heatmap")
    }
    assert networks == {
        "skeleton": ends | votes,
        "parameterized": ends | votes | {"graph_matrix"},
        "attention": ends | {f"reasonings.{i}.attention.1.weight" for i in (0, 1)},
        "heatmap": {"stem.conv.weight"} | votes | {f"heads.{i}.latent.weight" for i in (0, 1)},
    }
    assert other_kernels(VotesNetwork()) == {"convolutions.enter.weight", "convolutions.votes.weight"}
