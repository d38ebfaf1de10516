"""What runs the network: numpy in, numpy out."""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np

from handpose.errors import HandPoseError
from handpose.weights import Weights


class Backend(Protocol):
    """A loaded network."""

    def __call__(self, patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """From patches (N, 1, 96, 96) float32 to normalised joints and their spread, each (N, J, 3) float32."""
        ...


BackendName = Literal["auto", "torch"]


def load_backend(weights: Weights, name: BackendName, device: str) -> Backend:
    """The backend of that name with these weights.

    Args:
        weights: what to load.
        name: `auto` or `torch`.
        device: `auto` (a CUDA GPU if there is one), `cpu`, `cuda`, `cuda:1`, ...

    Raises:
        HandPoseError: unknown backend, or the device is not there.
    """
    if name not in ("auto", "torch"):
        raise HandPoseError(f"backend must be auto or torch, got {name!r}")
    return _Torch(weights, device)


class _Torch:
    def __init__(self, weights: Weights, device: str) -> None:
        # Imported here, so that looking at weights and reading depth never wait for torch.
        import torch

        self._torch = torch
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        model = weights.load()
        try:
            self.device = torch.device(device)
            self.model = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise HandPoseError(f"device {device!r} cannot be used ({reason}); use auto or cpu") from None

    def __call__(self, patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with self._torch.inference_mode():
            uvz, spread = self.model(self._torch.from_numpy(patches).to(self.device))
            return uvz.cpu().numpy(), spread.cpu().numpy()
