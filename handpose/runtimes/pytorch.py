"""Runs the networks in PyTorch, which is always installed and the only backend for GPUs."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from handpose.geometry.crop import PATCH
from handpose.localization.network import VIEW_STRIDE
from handpose.runtimes.base import Runtime, convert_out_of_memory
from handpose.runtimes.cuda_graphs import CudaGraphs
from handpose.weights.folder import Weights

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


class TorchRuntime(Runtime):
    """PyTorch: float32 on a CPU; on a CUDA GPU, most convolutions of the pose network in float16 (see `halve`).

    Args:
        weights: Weights of the pose network.
        device: `auto` (a CUDA GPU if available), `cpu`, `cuda`, `cuda:1`, ..., `mps`.

    Raises:
        HandPoseError: The device is not available.
        DeviceMemoryError: The device has too little memory for the networks.
    """

    def __init__(self, weights: Weights, device: str = "auto") -> None:
        import torch

        from handpose.network.device import available_device

        target = available_device(device)
        model = weights.load()
        with convert_out_of_memory():
            model = model.to(target, memory_format=torch.channels_last)  # type: ignore[call-overload]
            example = torch.zeros(1, 1, PATCH, PATCH)
            self._pose = CudaGraphs(model, target) if target.type == "cuda" else _Frozen(model, target, example)
            # On a CPU, numpy runs the localizer without threads, which would compete with those of the pose network.
            self._localizer = None if target.type == "cpu" else _localizer(target)

    def pose(self, patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `Runtime`."""
        import torch

        with convert_out_of_memory(), torch.inference_mode():
            uvz, spread, *_ = self._pose(torch.from_numpy(patches))
            return uvz.numpy(), spread.numpy()

    def pose_and_features(self, patches: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """See `Runtime`."""
        import torch

        with convert_out_of_memory(), torch.inference_mode():
            inputs = torch.from_numpy(patches)
            run = self._pose.with_features if isinstance(self._pose, CudaGraphs) else self._pose
            uvz, spread, *features = run(inputs)
            return uvz.numpy(), spread.numpy(), features[0].numpy() if features else None

    def votes(self, channels: np.ndarray) -> np.ndarray:
        """See `Runtime`."""
        import torch

        if self._localizer is None:
            return super().votes(channels)
        with convert_out_of_memory(), torch.inference_mode():
            (votes,) = self._localizer(torch.from_numpy(channels))
            return votes.numpy()


def _localizer(device: torch.device) -> _Frozen:
    import torch

    from handpose.localization.torch_runtime import LocalizerModel

    model = LocalizerModel().eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return _Frozen(model, device, torch.zeros(1, 2, VIEW_STRIDE, VIEW_STRIDE))


class _Frozen:
    """A network as one traced graph, in which BatchNorm, ReLU and sums are part of the preceding convolutions."""

    def __init__(self, model: nn.Module, device: torch.device, example: Tensor) -> None:
        import torch

        self._device = device
        # torch.jit is deprecated, but its replacement needs a compiler on the user's machine.
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            traced = torch.jit.trace(model, example.to(device), check_trace=False)  # type: ignore[no-untyped-call]
            self._graph = torch.jit.freeze(traced)

    def __call__(self, inputs: Tensor) -> tuple[Tensor, ...]:
        outputs = self._graph(inputs.to(self._device))
        return tuple(output.cpu() for output in (outputs if isinstance(outputs, tuple) else (outputs,)))
