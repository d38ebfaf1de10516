"""The networks in PyTorch: always there, and the only backend for GPUs."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from handpose.errors import HandPoseError
from handpose.geometry.crop import PATCH
from handpose.localization.network import VIEW_STRIDE, Votes
from handpose.localization.numpy_runtime import votes_in_numpy
from handpose.runtimes.base import own_memory_errors
from handpose.runtimes.cuda_graphs import CudaGraphs
from handpose.weights.folder import Weights

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


class TorchBackend:
    """float32 on the CPU; on a CUDA GPU most convolutions in float16 (see `halve`).

    Args:
        weights: what to load.
        device: `auto` (a CUDA GPU if there is one), `cpu`, `cuda`, `cuda:1`, ...

    Raises:
        HandPoseError: the device is not there.
        DeviceMemoryError: it has no room for the weights.
    """

    def __init__(self, weights: Weights, device: str = "auto") -> None:
        import torch

        place = _place(device)
        model = weights.load()
        with own_memory_errors():
            model = model.to(place, memory_format=torch.channels_last)  # type: ignore[call-overload]
            example = torch.zeros(1, 1, PATCH, PATCH)
            self._run = CudaGraphs(model, place) if place.type == "cuda" else _Frozen(model, place, example)

    def __call__(self, patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `Backend` says."""
        import torch

        with own_memory_errors(), torch.inference_mode():
            uvz, spread = self._run(torch.from_numpy(patches))
            return uvz.numpy(), spread.numpy()


def torch_votes(device: str) -> Votes:
    """The localiser's network, on a GPU; for the CPU numpy's, which wakes no threads beside those of `TorchBackend`.

    Args:
        device: as in `TorchBackend`, like the errors.
    """
    place = _place(device)
    return votes_in_numpy if place.type == "cpu" else TorchVotes(place)


class TorchVotes:
    """The localiser's network, as `Votes` says, in what cuDNN takes for float32."""

    def __init__(self, device: torch.device) -> None:
        import torch

        from handpose.localization.torch_runtime import LocalizerModel

        with own_memory_errors():
            model = LocalizerModel().eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            self._run = _Frozen(model, device, torch.zeros(1, 2, VIEW_STRIDE, VIEW_STRIDE))

    def __call__(self, channels: np.ndarray) -> np.ndarray:
        """As `Votes` says."""
        import torch

        with own_memory_errors(), torch.inference_mode():
            (votes,) = self._run(torch.from_numpy(channels))
            return votes.numpy()


def _place(device: str) -> torch.device:
    """The device of that name, once it has held a tensor."""
    # Imported here, so that looking at weights and reading depth never wait for torch.
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.zeros(1, device=device).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise HandPoseError(f"device {device!r} cannot be used ({reason}); use auto or cpu") from None


class _Frozen:
    """A network as one traced graph: BatchNorm, ReLU and sums become part of the convolutions before them."""

    def __init__(self, model: nn.Module, device: torch.device, example: Tensor) -> None:
        import torch

        self._device = device
        # torch.jit is deprecated, but what shall replace it needs a compiler on the user's machine.
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            traced = torch.jit.trace(model, example.to(device), check_trace=False)  # type: ignore[no-untyped-call]
            self._graph = torch.jit.freeze(traced)

    def __call__(self, inputs: Tensor) -> tuple[Tensor, ...]:
        outputs = self._graph(inputs.to(self._device))
        return tuple(output.cpu() for output in (outputs if isinstance(outputs, tuple) else (outputs,)))
