"""The optimizers of a training run: Muon and Adam, or only Adam."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from handpose.network.losses import decayed_parameters
from handpose.training.config import TrainingConfig
from handpose.training.muon import Muon, hidden_kernels


class Optimizers:
    """Optimizes every parameter of a network with the optimizer that the settings assign to it.

    Args:
        model: The network.
        config: Training settings.
    """

    def __init__(self, model: nn.Module, config: TrainingConfig) -> None:
        self._model, self._config = model, config
        kernels = hidden_kernels(model) if config.optimizer == "muon" else []
        assigned = {id(parameter) for parameter in kernels}
        decayed = [parameter for parameter in decayed_parameters(model) if id(parameter) not in assigned]
        assigned |= {id(parameter) for parameter in decayed}
        other = [parameter for parameter in model.parameters() if id(parameter) not in assigned]
        groups: list[dict[str, Any]] = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": other}]
        self._peaks: list[tuple[torch.optim.Optimizer, float]] = [
            (torch.optim.Adam(groups), config.adam_rate if config.optimizer == "muon" else config.peak)
        ]
        if kernels:
            self._peaks.append((Muon(kernels), config.peak))

    def step(self, step: int) -> None:
        """Update all parameters, with the learning rates scheduled for this step, and clear their gradients."""
        for optimizer, peak in self._peaks:
            for group in optimizer.param_groups:
                group["lr"] = self._config.scheduled(peak, step)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Tensor]:
        """Return the momentum and all other state of the optimizers, as tensors by `parameter/name`."""
        names = {id(parameter): name for name, parameter in self._model.named_parameters()}
        return {
            f"{names[id(parameter)]}/{key}": value
            for optimizer, _ in self._peaks
            for parameter, state in optimizer.state.items()
            for key, value in state.items()
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Restore the state that `state` returned."""
        parameters = dict(self._model.named_parameters())
        owners = {
            id(parameter): optimizer
            for optimizer, _ in self._peaks
            for group in optimizer.param_groups
            for parameter in group["params"]
        }
        for name, value in state.items():
            parameter_name, _, key = name.partition("/")
            parameter = parameters[parameter_name]
            # Adam's step count is a scalar and stays on the CPU.
            owners[id(parameter)].state[parameter][key] = value.to(parameter.device) if value.ndim else value
