"""The localizer network in PyTorch, for inference: BatchNorm is folded into its convolutions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from handpose.localization.network import read_weights, votes_network


class LocalizerModel(nn.Module):
    """The localizer network with the weights of the package."""

    def __init__(self) -> None:
        super().__init__()
        for name, tensors in read_weights().items():
            for kind, tensor in zip(("weight", "bias"), tensors, strict=True):
                self.register_buffer(f"{name}_{kind}", torch.from_numpy(tensor))

    def forward(self, channels: Tensor) -> Tensor:
        """Map channels (N, 2, h, w) to votes (N, 16, h/4, w/4)."""

        def convolve(name: str, x: Tensor, stride: int) -> Tensor:
            x = F.conv2d(x, self.get_buffer(f"{name}_weight"), self.get_buffer(f"{name}_bias"), stride, padding=1)
            return x if name == "votes" else F.relu(x)

        votes: Tensor = votes_network(channels, convolve, lambda x: F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return votes
