"""Muon, an optimizer for kernels that orthogonalizes their momentum (Jordan et al. 2024)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # quintic Newton-Schulz iteration, steep at zero so that five steps suffice
_ITERATIONS = 5

# First and last layers of the networks, and the graph matrix, which is not a kernel.
_NOT_HIDDEN = (
    "stem.conv.weight",
    "vote.weight",
    "offsets.weight",
    "latent.weight",
    "attention.1.weight",
    "graph_matrix",
    "enter.weight",
    "votes.weight",
)


class Muon(torch.optim.Optimizer):
    """Updates each kernel by its Nesterov momentum with all singular values set to approximately one.

    A kernel (O, I, k, k) is treated as a matrix (O, I*k*k). The update is scaled by sqrt(max(1, rows / columns)), so
    one learning rate suits all shapes.

    Args:
        parameters: Kernels with two or more dimensions.
        lr: Learning rate.
        momentum: Decay of the momentum per step.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float = 0.02, momentum: float = 0.95) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Update every kernel that has a gradient."""
        for group in self.param_groups:
            kernels = [parameter for parameter in group["params"] if parameter.grad is not None]
            gradients = [kernel.grad for kernel in kernels]
            momenta = [self._momentum(kernel) for kernel in kernels]
            torch._foreach_lerp_(momenta, gradients, 1.0 - group["momentum"])
            updates = torch._foreach_lerp(gradients, momenta, group["momentum"])  # Nesterov
            shapes: dict[tuple[int, int], list[tuple[nn.Parameter, Tensor]]] = defaultdict(list)
            for kernel, update in zip(kernels, updates, strict=True):
                matrix = update.flatten(1)
                shapes[matrix.shape[0], matrix.shape[1]].append((kernel, matrix))
            for (rows, columns), members in shapes.items():  # kernels of the same shape are processed as one batch
                matrices = orthogonalize(torch.stack([matrix for _, matrix in members]))
                matrices *= -group["lr"] * max(1.0, rows / columns) ** 0.5
                for (kernel, _), matrix in zip(members, matrices, strict=True):
                    kernel.add_(matrix.view(kernel.shape))

    def _momentum(self, kernel: nn.Parameter) -> Tensor:
        state = self.state[kernel]
        if not state:
            state["momentum"] = torch.zeros_like(kernel)
        momentum: Tensor = state["momentum"]
        return momentum


def orthogonalize(matrices: Tensor) -> Tensor:
    """Return matrices (..., R, C) with the same singular vectors and singular values near one (0.7 to 1.2).

    The iterations run in bfloat16.
    """
    a, b, c = _COEFFICIENTS
    x = matrices.bfloat16()
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    result: Tensor = (x.mT if tall else x).to(matrices.dtype)
    return result


def hidden_kernels(model: nn.Module) -> list[nn.Parameter]:
    """Return the kernels of a network's hidden layers: all but those of its first, voting and output layers."""
    return [
        parameter
        for name, parameter in model.named_parameters()
        if parameter.ndim >= 2 and not name.endswith(_NOT_HIDDEN)
    ]
