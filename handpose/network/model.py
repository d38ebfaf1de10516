"""The network JGR-P2O: joint graph reasoning and pixel-to-offset prediction in stacked hourglasses.

Fang, Liu, Liu, Xu, Kang: "JGR-P2O: Joint Graph Reasoning based Pixel-to-Offset Prediction Network for
3D Hand Pose Estimation from a Single Depth Image", ECCV 2020. The classes are named after the blocks in the paper.
Comments point out surprising details of the original implementation.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from handpose.network.config import JGRP2OConfig

GRID = 24
"""Side of the grid of voting pixels, px: a quarter of the side of the patch."""


class ConvBN(nn.Sequential):
    """Convolution without bias, batch normalization and, except at the end of a branch, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, *, relu: bool = True) -> None:
        layers: list[nn.Module] = [
            nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(outputs, eps=1e-5, momentum=0.05),
        ]
        super().__init__(*layers, *([nn.ReLU()] if relu else []))


class Residual(nn.Module):
    """Bottleneck residual block: 1x1 to half the width, 3x3, 1x1; with a projection only if the width changes."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half = outputs // 2
        self.branch = nn.Sequential(ConvBN(inputs, half), ConvBN(half, half, 3), ConvBN(half, outputs, relu=False))
        self.shortcut = nn.Identity() if inputs == outputs else ConvBN(inputs, outputs, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map features (N, C, H, W) to features of the same resolution."""
        return F.relu(self.branch(x) + self.shortcut(x))


class Stem(nn.Module):
    """Convolutions that reduce depth patches to features at a quarter of the resolution."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, features // 4, 7, stride=2, bias=False)
        self.bn = nn.BatchNorm2d(features // 4, eps=1e-5, momentum=0.05)
        self.residual1 = Residual(features // 4, features // 2)
        self.residual2 = Residual(features // 2, features // 2)
        self.residual3 = Residual(features // 2, features)

    def forward(self, patches: Tensor) -> Tensor:
        """Map patches (N, 1, 96, 96) to features (N, C, 24, 24)."""
        # TensorFlow's SAME padding of a stride-2 convolution puts the odd pixel at the bottom and right.
        x = F.relu(self.bn(self.conv(F.pad(patches, (2, 3, 2, 3)))))
        x = F.max_pool2d(self.residual1(x), 2)
        return self.residual3(self.residual2(x))  # type: ignore[no-any-return]


class Hourglass(nn.Module):
    """Recursive hourglass (Newell et al. 2016): downsample, recurse, upsample, and add the full-resolution branch."""

    def __init__(self, features: int, depth: int) -> None:
        super().__init__()
        self.upper = Residual(features, features)
        self.lower1 = Residual(features, features)
        self.inner = Hourglass(features, depth - 1) if depth > 1 else nn.Identity()
        self.lower3 = Residual(features, features)

    def forward(self, x: Tensor) -> Tensor:
        """Map features (N, C, H, W) to features of the same resolution."""
        # SAME padding of 3x3 windows with stride 2 adds a row at the bottom and a column at the right of even sides.
        lower = F.max_pool2d(x, 3, stride=2, ceil_mode=True)
        lower = self.lower3(self.inner(self.lower1(lower)))
        return self.upper(x) + F.interpolate(lower, scale_factor=2.0, mode="nearest")  # type: ignore[no-any-return]


class GraphReasoning(nn.Module):
    """Joint graph reasoning (paper, section 3.2): from pixels to joints, along the graph, and back to pixels."""

    def __init__(self, features: int, joints: int) -> None:
        super().__init__()
        # The softmax cancels the bias, but checkpoints contain it.
        self.vote = nn.Conv2d(features, joints, 1)
        self.embed = ConvBN(features, features)
        self.propagate = nn.Linear(features, features, bias=False)
        self.context = ConvBN(features, features)
        self.fuse = ConvBN(2 * features, features)

    def edges(self, nodes: Tensor, graph: Tensor) -> Tensor:
        """Return the connection weights between joints, (J, J) or (N, J, J).

        Args:
            nodes: (N, J, C) joint features.
            graph: (J, J) graph matrix of the network.
        """
        return graph.to(nodes.dtype)

    def forward(self, x: Tensor, graph: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return augmented features (N, C, H, W), vote weights (N, 1, J, H*W), and joint features (N, J, C).

        The vote weights sum to one over the pixels. The joint features are those before the propagation.

        Args:
            x: (N, C, H, W) features.
            graph: (J, J) connection weights between joints.
        """
        weights = _softmax_over_pixels(self.vote(x))  # (N, J, H*W)
        mixing = weights.to(x.dtype)
        joints = mixing @ self.embed(x).flatten(2).transpose(1, 2)  # (N, J, C)
        nodes = F.relu(self.edges(joints, graph) @ self.propagate(joints))
        context = nodes.transpose(1, 2) @ mixing / graph.shape[0]  # (N, C, H*W): the mean over joints, equation (4)
        context = self.context(context.reshape(x.shape))
        return self.fuse(torch.cat([x, context], dim=1)), weights[:, None], joints


class SimilarityReasoning(GraphReasoning):
    """Joint graph reasoning along the similarity of the joint features (paper, section 3.2 and Table 1)."""

    def __init__(self, features: int, joints: int) -> None:
        super().__init__(features, joints)
        self.query = nn.Linear(features, features, bias=False)
        self.key = nn.Linear(features, features, bias=False)

    def edges(self, nodes: Tensor, graph: Tensor) -> Tensor:
        """Return the connection weights (N, J, J), which differ between images."""
        return torch.softmax(self.query(nodes) @ self.key(nodes).transpose(1, 2), dim=2)


class MeanVotes(nn.Module):
    """No joint graph reasoning: the votes of all pixels have the same weight (paper, Table 2)."""

    def forward(self, x: Tensor, graph: Tensor) -> tuple[Tensor, Tensor, None]:
        """Return the features (N, C, H, W), equal vote weights (1, 1, 1, H*W), and no joint features."""
        pixels = x.shape[2] * x.shape[3]
        return x, x.new_full((1, 1, 1, pixels), 1.0 / pixels, dtype=_at_least_float32(x.dtype)), None


class AttentionVotes(nn.Module):
    """Pixels weighted by an attention module instead of joint graph reasoning (paper, section 4.3 and Figure 3)."""

    def __init__(self, features: int, joints: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(Residual(features, features), nn.Conv2d(features, joints, 1, bias=False))
        self.offsets = Residual(features, features)

    def forward(self, x: Tensor, graph: Tensor) -> tuple[Tensor, Tensor, None]:
        """Return features (N, C, H, W) for the offsets, vote weights (N, 1, J, H*W), and no joint features."""
        return self.offsets(x), _softmax_over_pixels(self.attention(x))[:, None], None


def _softmax_over_pixels(logits: Tensor) -> Tensor:
    """Apply a softmax over the pixels, from (N, K, H, W) to (N, K, H*W), in at least float32."""
    # Rounded weights would shift the joints, which are sums over 576 pixels.
    return logits.flatten(2).softmax(dim=2, dtype=_at_least_float32(logits.dtype))


def _at_least_float32(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


class PixelToOffset(nn.Module):
    """Pixel-to-offset prediction (section 3.3): three maps per joint with the offsets from every pixel to it."""

    def __init__(self, features: int, joints: int) -> None:
        super().__init__()
        self.offsets = nn.Conv2d(features, 3 * joints, 1, bias=False)
        self.maps = 3 * joints

    def forward(self, x: Tensor) -> Tensor:
        """Return normalized offsets (N, 3*J, H, W): du of all joints, then dv, then dz."""
        return self.offsets(x)  # type: ignore[no-any-return]

    def decode(self, maps: Tensor, weights: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
        """Return the offsets of the votes, normalized, (N, 3, J, H*W), and their weights, (N, 1, J, H*W).

        Args:
            maps: The output of `forward`.
            weights: (N, 1, J, H*W) vote weights that sum to one over the pixels.
            grid: (N, 3, 1, H*W) u, v and z of the pixels.
        """
        maps = maps.flatten(2)
        return maps.reshape(maps.shape[0], 3, -1, maps.shape[2]), weights


class HeatMaps(nn.Module):
    """Differentiable heat maps instead of pixel-to-offset prediction (paper, section 4.3 and Table 4).

    As in Iqbal et al. (ECCV 2018), u and v of a joint are the mean position of its latent heat map, and z is the mean
    of its latent depth map, weighted by the heat map.
    """

    def __init__(self, features: int, joints: int) -> None:
        super().__init__()
        self.latent = nn.Conv2d(features, 2 * joints, 1, bias=False)
        self.maps = 2 * joints

    def forward(self, x: Tensor) -> Tensor:
        """Return latent maps (N, 2*J, H, W): the heat maps of all joints, then their depth maps."""
        return self.latent(x)  # type: ignore[no-any-return]

    def decode(self, maps: Tensor, weights: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
        """Return the votes as `PixelToOffset` does: with zero offsets in u and v, and the latent depth as z."""
        heat, depth = maps.chunk(2, dim=1)
        dz = depth.flatten(2) - grid[:, 2]
        return torch.stack([torch.zeros_like(dz), torch.zeros_like(dz), dz], dim=1), _softmax_over_pixels(heat)[:, None]


class StackOutput(NamedTuple):
    """The output of one stack.

    Attributes:
        weights: (N, 1, J, H*W) vote weights; the third axis has size 1 if all joints share them.
        offsets: (N, 3, J, H*W) offsets from each pixel to its vote, normalized.
        uvz: (N, J, 3) joints, normalized.
        features: (N, J, C) joint features; None without graph reasoning.
    """

    weights: Tensor
    offsets: Tensor
    uvz: Tensor
    features: Tensor | None


def pixel_grid(patches: Tensor) -> Tensor:
    """Return the normalized position of each voting pixel, (N, 3, 1, H*W): u and v in 0..1, and its depth in -1..1."""
    depth = patches[:, :, ::4, ::4]  # strided sampling as in the original, not interpolation
    ramp = torch.linspace(0.0, 1.0, GRID, dtype=patches.dtype, device=patches.device)
    u = ramp.expand(depth.shape)
    v = ramp[:, None].expand(depth.shape)
    return torch.stack([u, v, depth], dim=1).flatten(3)


def vote_spread(output: StackOutput, grid: Tensor) -> Tensor:
    """Return the weighted standard deviation of the votes, (N, J, 3), normalized like uvz."""
    deviation = output.offsets + grid - output.uvz.transpose(1, 2)[..., None]  # (N, 3, J, H*W)
    return (output.weights * deviation.square()).sum(3).sqrt().transpose(1, 2)


def _reasoning(config: JGRP2OConfig) -> nn.Module:
    """Create the module that computes the vote weights and may augment the features."""
    features, joints = config.features, len(config.joint_layout)
    if config.voting == "mean":
        return MeanVotes()
    if config.voting == "attention":
        return AttentionVotes(features, joints)
    return (SimilarityReasoning if config.graph == "similarity" else GraphReasoning)(features, joints)


class JGRP2O(nn.Module):
    """The complete network.

    `forward` maps patches (N, 1, 96, 96) in -1..1 (near = -1, background = +1) to `uvz` (N, J, 3), with u and v in
    0..1 across the patch and z in -1..1 across the cube, and to the `spread` of the votes for each coordinate, with
    the same shape and scale. A network with graph reasoning returns joint features, too: (N, S, J, C) of S stacks.
    """

    graph_matrix: Tensor  # the ONNX exporter reserves the name `graph`

    def __init__(self, config: JGRP2OConfig) -> None:
        super().__init__()
        self.config = config
        width, joints = config.features, len(config.joint_layout)
        graph = torch.from_numpy(config.joint_layout.adjacency()).to(torch.get_default_dtype())
        if config.graph == "parameterized":  # all stacks share one matrix, as the parameter counts in the paper suggest
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
        """Return the outputs of all stacks, which are all supervised in training."""
        grid = pixel_grid(patches)
        stem = x = self.stem(patches)
        outputs = []
        for stack, (hourglass, residual, reasoning, head) in enumerate(
            zip(self.hourglasses, self.residuals, self.reasonings, self.heads, strict=True)
        ):
            x, weights, features = reasoning(residual(hourglass(x)), self.graph_matrix)
            maps = head(x)
            # Votes are summed in the precision of the patches, regardless of the precision of the convolutions.
            offsets, weights = cast(PixelToOffset, head).decode(
                maps.to(patches.dtype), weights.to(patches.dtype), grid
            )  # (N, 3, J, H*W)
            uvz = (weights * (offsets + grid)).sum(3).transpose(1, 2)  # (N, J, 3)
            outputs.append(StackOutput(weights, offsets, uvz, features))
            if stack + 1 < len(self.heads):
                x = stem + self.from_offsets[stack](maps) + self.from_features[stack](x)
        return outputs

    def forward(self, patches: Tensor) -> tuple[Tensor, ...]:
        """Return the joints of the last stack and the spread of their votes, each (N, J, 3), and the joint features."""
        outputs = self.stack_outputs(patches)
        last = outputs[-1]
        features = [output.features for output in outputs if output.features is not None]
        spread = vote_spread(last, pixel_grid(patches))
        if not features:
            return last.uvz, spread
        return last.uvz, spread, torch.stack(features, dim=1).to(patches.dtype)
