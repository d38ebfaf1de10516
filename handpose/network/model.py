"""JGR-P2O, the network: joint graph reasoning and pixel-to-offset prediction in stacked hourglasses.

Fang, Liu, Liu, Xu, Kang: "JGR-P2O: Joint Graph Reasoning based Pixel-to-Offset Prediction Network for
3D Hand Pose Estimation from a Single Depth Image", ECCV 2020. The classes carry the names of the paper's
boxes; where the original implementation differs from what one would expect, a comment says so.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from handpose.network.config import JGRP2OConfig

GRID = 24
"""Side of the grid of pixels that vote, px: a quarter of the patch's."""


class ConvBN(nn.Sequential):
    """Convolution without bias, batch normalisation and, unless it ends a branch, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, *, relu: bool = True) -> None:
        layers: list[nn.Module] = [
            nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(outputs, eps=1e-5, momentum=0.05),
        ]
        super().__init__(*layers, *([nn.ReLU()] if relu else []))


class Residual(nn.Module):
    """Bottleneck residual block: 1x1 to half the width, 3x3, 1x1; a projection only where the width changes."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half = outputs // 2
        self.branch = nn.Sequential(ConvBN(inputs, half), ConvBN(half, half, 3), ConvBN(half, outputs, relu=False))
        self.shortcut = nn.Identity() if inputs == outputs else ConvBN(inputs, outputs, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        """Features (N, C, H, W) to features of the same size."""
        return F.relu(self.branch(x) + self.shortcut(x))


class Stem(nn.Module):
    """From the (N, 1, 96, 96) depth patch to (N, C, 24, 24) features."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, features // 4, 7, stride=2, bias=False)
        self.bn = nn.BatchNorm2d(features // 4, eps=1e-5, momentum=0.05)
        self.residual1 = Residual(features // 4, features // 2)
        self.residual2 = Residual(features // 2, features // 2)
        self.residual3 = Residual(features // 2, features)

    def forward(self, patches: Tensor) -> Tensor:
        """Patches (N, 1, 96, 96) to features (N, C, 24, 24)."""
        # TensorFlow's SAME padding of a stride-2 convolution puts the odd pixel at the bottom and right.
        x = F.relu(self.bn(self.conv(F.pad(patches, (2, 3, 2, 3)))))
        x = F.max_pool2d(self.residual1(x), 2)
        return self.residual3(self.residual2(x))  # type: ignore[no-any-return]


class Hourglass(nn.Module):
    """Recursive hourglass (Newell et al. 2016): halve, descend, double, add what stayed above."""

    def __init__(self, features: int, depth: int) -> None:
        super().__init__()
        self.upper = Residual(features, features)
        self.lower1 = Residual(features, features)
        self.inner = Hourglass(features, depth - 1) if depth > 1 else nn.Identity()
        self.lower3 = Residual(features, features)

    def forward(self, x: Tensor) -> Tensor:
        """Features (N, C, H, W) to features of the same size."""
        # SAME padding of 3x3 stride 2 on even sides: one more row at the bottom, one more column at the right.
        lower = F.max_pool2d(x, 3, stride=2, ceil_mode=True)
        lower = self.lower3(self.inner(self.lower1(lower)))
        return self.upper(x) + F.interpolate(lower, scale_factor=2.0, mode="nearest")  # type: ignore[no-any-return]


class GraphReasoning(nn.Module):
    """Joint graph reasoning (paper, section 3.2): pixels to joints, along the graph, and back to pixels."""

    def __init__(self, features: int, joints: int) -> None:
        super().__init__()
        # The bias changes nothing (the softmax cancels it); it is here because checkpoints have it.
        self.vote = nn.Conv2d(features, joints, 1)
        self.embed = ConvBN(features, features)
        self.propagate = nn.Linear(features, features, bias=False)
        self.context = ConvBN(features, features)
        self.fuse = ConvBN(2 * features, features)

    def edges(self, nodes: Tensor, graph: Tensor) -> Tensor:
        """The connection weights between joints, (J, J) or (N, J, J).

        Args:
            nodes: joint features (N, J, C).
            graph: the network's own matrix (J, J).
        """
        return graph.to(nodes.dtype)

    def forward(self, x: Tensor, graph: Tensor) -> tuple[Tensor, Tensor]:
        """Augmented features (N, C, H, W) and voting weights (N, 1, J, H*W), which sum to one over the pixels.

        Args:
            x: features (N, C, H, W).
            graph: connection weights between joints (J, J).
        """
        weights = _over_pixels(self.vote(x))  # (N, J, H*W)
        mixing = weights.to(x.dtype)
        nodes = mixing @ self.embed(x).flatten(2).transpose(1, 2)  # (N, J, C)
        nodes = F.relu(self.edges(nodes, graph) @ self.propagate(nodes))
        context = nodes.transpose(1, 2) @ mixing / graph.shape[0]  # (N, C, H*W): the mean over joints, equation (4)
        context = self.context(context.reshape(x.shape))
        return self.fuse(torch.cat([x, context], dim=1)), weights[:, None]


class SimilarityReasoning(GraphReasoning):
    """Joint graph reasoning along the similarity of the joints' own features (paper, section 3.2 and Table 1)."""

    def __init__(self, features: int, joints: int) -> None:
        super().__init__(features, joints)
        self.query = nn.Linear(features, features, bias=False)
        self.key = nn.Linear(features, features, bias=False)

    def edges(self, nodes: Tensor, graph: Tensor) -> Tensor:
        """As in `GraphReasoning`; each image has a graph of its own."""
        return torch.softmax(self.query(nodes) @ self.key(nodes).transpose(1, 2), dim=2)


class MeanVotes(nn.Module):
    """No joint graph reasoning: all pixels vote alike (paper, Table 2)."""

    def forward(self, x: Tensor, graph: Tensor) -> tuple[Tensor, Tensor]:
        """As in `GraphReasoning`."""
        pixels = x.shape[2] * x.shape[3]
        return x, x.new_full((1, 1, 1, pixels), 1.0 / pixels, dtype=_precise(x.dtype))


class AttentionVotes(nn.Module):
    """Pixels weighted by an attention module instead of joint graph reasoning (paper, section 4.3 and Figure 3)."""

    def __init__(self, features: int, joints: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(Residual(features, features), nn.Conv2d(features, joints, 1, bias=False))
        self.offsets = Residual(features, features)

    def forward(self, x: Tensor, graph: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N, C, H, W) for the offsets, and weights (N, 1, J, H*W) that u, v and z share."""
        return self.offsets(x), _over_pixels(self.attention(x))[:, None]


def _over_pixels(logits: Tensor) -> Tensor:
    """Softmax over the pixels: (N, K, H, W) to (N, K, H*W), in float32 at least."""
    # Rounded weights would move joints: votes are summed over 576 pixels.
    return logits.flatten(2).softmax(dim=2, dtype=_precise(logits.dtype))


def _precise(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


class PixelToOffset(nn.Module):
    """Pixel-to-offset prediction (section 3.3): from every pixel to every joint, three offset maps."""

    def __init__(self, features: int, joints: int) -> None:
        super().__init__()
        self.offsets = nn.Conv2d(features, 3 * joints, 1, bias=False)
        self.maps = 3 * joints

    def forward(self, x: Tensor) -> Tensor:
        """Normalised offsets (N, 3*J, H, W): all joints' du, then dv, then dz."""
        return self.offsets(x)  # type: ignore[no-any-return]

    def decode(self, maps: Tensor, weights: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
        """The offsets that pixels vote with, and how much each vote counts.

        Args:
            maps: the output of `forward`.
            weights: (N, 1, J, H*W), which sum to one over the pixels.
            grid: the pixels' own u, v, z (N, 3, 1, H*W).

        Returns:
            Normalised offsets (N, 3, J, H*W), and weights (N, 1, J, H*W).
        """
        maps = maps.flatten(2)
        return maps.reshape(maps.shape[0], 3, -1, maps.shape[2]), weights


class HeatMaps(nn.Module):
    """Differentiable heat maps in place of pixel-to-offset prediction (paper, section 4.3 and Table 4).

    After Iqbal et al. (ECCV 2018): a joint's u and v are the mean place under its latent heat map, and its z is
    the mean of its latent depth map under the same heat map.
    """

    def __init__(self, features: int, joints: int) -> None:
        super().__init__()
        self.latent = nn.Conv2d(features, 2 * joints, 1, bias=False)
        self.maps = 2 * joints

    def forward(self, x: Tensor) -> Tensor:
        """Latent maps (N, 2*J, H, W): all joints' heat, then their depth."""
        return self.latent(x)  # type: ignore[no-any-return]

    def decode(self, maps: Tensor, weights: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
        """As in `PixelToOffset`: no offset in u and v, and in z from the pixel's depth to the latent one."""
        heat, depth = maps.chunk(2, dim=1)
        dz = depth.flatten(2) - grid[:, 2]
        return torch.stack([torch.zeros_like(dz), torch.zeros_like(dz), dz], dim=1), _over_pixels(heat)[:, None]


class StackOutput(NamedTuple):
    """What one stack says of a patch.

    Attributes:
        weights: how much each pixel counts (N, 1, J, H*W); the third axis is 1 where joints do not differ.
        offsets: offset maps (N, 3, J, H*W), normalised like uvz: each pixel's vote less its own place.
        uvz: the joints (N, J, 3), normalised.
    """

    weights: Tensor
    offsets: Tensor
    uvz: Tensor


def pixel_grid(patches: Tensor) -> Tensor:
    """Where each voting pixel lies, normalised: (N, 3, 1, H*W), u and v in 0..1 and its depth in -1..1."""
    depth = patches[:, :, ::4, ::4]  # plain strided sampling, as the original has it
    ramp = torch.linspace(0.0, 1.0, GRID, dtype=patches.dtype, device=patches.device)
    u = ramp.expand(depth.shape)
    v = ramp[:, None].expand(depth.shape)
    return torch.stack([u, v, depth], dim=1).flatten(3)


def vote_spread(output: StackOutput, grid: Tensor) -> Tensor:
    """Weighted standard deviation of the pixels' votes, (N, J, 3), normalised like uvz."""
    deviation = output.offsets + grid - output.uvz.transpose(1, 2)[..., None]  # (N, 3, J, H*W)
    return (output.weights * deviation.square()).sum(3).sqrt().transpose(1, 2)


def _reasoning(config: JGRP2OConfig) -> nn.Module:
    """The module that weights the pixels, and may augment their features."""
    features, joints = config.features, len(config.joint_layout)
    if config.voting == "mean":
        return MeanVotes()
    if config.voting == "attention":
        return AttentionVotes(features, joints)
    return (SimilarityReasoning if config.graph == "similarity" else GraphReasoning)(features, joints)


class JGRP2O(nn.Module):
    """The whole network.

    `forward` takes patches (N, 1, 96, 96) in -1..1 (near = -1, background = +1) and returns
    `uvz` (N, J, 3), u and v in 0..1 over the patch and z in -1..1 over the cube, and `spread` of the same
    shape and scale: how far the pixels' votes for that coordinate disagree.
    """

    graph_matrix: Tensor  # not `graph`, which the exporter to ONNX has for itself

    def __init__(self, config: JGRP2OConfig) -> None:
        super().__init__()
        self.config = config
        width, joints = config.features, len(config.joint_layout)
        graph = torch.from_numpy(config.joint_layout.adjacency()).to(torch.get_default_dtype())
        if config.graph == "parameterized":  # one matrix for all stacks, as the paper's parameter counts suggest
            self.graph_matrix = nn.Parameter(graph)
        else:
            self.register_buffer("graph_matrix", graph, persistent=False)
        self.stem = Stem(width)
        self.hourglasses = nn.ModuleList(Hourglass(width, 3) for _ in range(config.stacks))
        self.residuals = nn.ModuleList(Residual(width, width) for _ in range(config.stacks))
        self.reasonings = nn.ModuleList(_reasoning(config) for _ in range(config.stacks))
        head = HeatMaps if config.voting == "heatmap" else PixelToOffset
        self.heads = nn.ModuleList(head(width, joints) for _ in range(config.stacks))
        self.from_offsets = nn.ModuleList(
            ConvBN(cast(PixelToOffset, self.heads[0]).maps, width) for _ in range(config.stacks - 1)
        )
        self.from_features = nn.ModuleList(ConvBN(width, width) for _ in range(config.stacks - 1))

    def stack_outputs(self, patches: Tensor) -> list[StackOutput]:
        """Every stack's output, for supervision of all of them."""
        grid = pixel_grid(patches)
        stem = x = self.stem(patches)
        outputs = []
        for stack, (hourglass, residual, reasoning, head) in enumerate(
            zip(self.hourglasses, self.residuals, self.reasonings, self.heads, strict=True)
        ):
            x, weights = reasoning(residual(hourglass(x)), self.graph_matrix)
            maps = head(x)
            # Votes are summed in the patches' own precision, whatever the convolutions ran in.
            offsets, weights = cast(PixelToOffset, head).decode(
                maps.to(patches.dtype), weights.to(patches.dtype), grid
            )  # (N, 3, J, H*W)
            uvz = (weights * (offsets + grid)).sum(3).transpose(1, 2)  # (N, J, 3)
            outputs.append(StackOutput(weights, offsets, uvz))
            if stack + 1 < len(self.heads):
                x = stem + self.from_offsets[stack](maps) + self.from_features[stack](x)
        return outputs

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """The last stack's joints and their spread, (N, J, 3) each, normalised."""
        last = self.stack_outputs(patches)[-1]
        return last.uvz, vote_spread(last, pixel_grid(patches))
