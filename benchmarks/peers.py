"""Compare the speed of JGR-P2O with that of other hand pose networks on one machine, at the same precision.

    python benchmarks/peers.py [--device cpu] [--batches 1 8 32] [--rounds 5] [--json OUT]

The other networks follow the descriptions in their papers, but have random weights: they serve for timing only. All
networks run in eager PyTorch (float32, `inference_mode`, channels-last, BatchNorm not folded), so the ratios compare
only the networks themselves. The networks take turns in every round. Times and ratios are medians over the rounds, with
the lowest and the highest ratio.

On a CPU, a second table compares single crops as users run them: JGR-P2O with ONNX Runtime and OpenVINO, if installed,
in float32 and in 8 bits, and the others in eager PyTorch with its default memory layout, as in their repositories.

With `OMP_NUM_THREADS=1` on a CPU, the CPU time is measured, which other processes affect less than the elapsed time.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from handpose.io.choices import BackendName, Precision
from handpose.network.config import JGRP2OConfig
from handpose.network.model import JGRP2O
from handpose.runtimes.select import installed_backends, load_runtime
from handpose.weights.resolve import find_weights

JOINTS = 14  # NYU's joints, for all networks
TURN = 0.5  # s; forward passes are repeated for this long per turn
SLOW = 3.0  # s; if a pass takes longer, larger batches are skipped


def conv(inside: int, outside: int, kernel: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """Return a 2D convolution followed by BatchNorm."""
    padding = dilation * (kernel // 2)
    layer = nn.Conv2d(inside, outside, kernel, stride, padding, dilation, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outside))


class Bottleneck(nn.Module):
    """ResNet's residual block of 1x1, 3x3 and 1x1 convolutions (He et al. 2016), with the stride in the 3x3 one."""

    def __init__(self, inside: int, width: int, outside: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.down, self.middle = conv(inside, width, 1), conv(width, width, 3, stride, dilation)
        self.up = conv(width, outside, 1)
        self.skip: nn.Module = nn.Identity()
        if inside != outside:
            self.skip = conv(inside, outside, 1, stride)
        elif stride > 1:
            self.skip = nn.MaxPool2d(1, stride)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.up(F.relu(self.middle(F.relu(self.down(x)))))
        return F.relu(inner + self.skip(x))


class ResNet50(nn.Module):
    """ResNet-50 without its classifier; returns the features of stages 3 and 4, with 1024 and 2048 channels."""

    def __init__(self, *, dilate_last: bool) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        stages, inside = [], 64
        for stage, (width, count) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3))):
            dilation = 2 if dilate_last and stage == 3 else 1
            stride = 1 if stage == 0 or dilation > 1 else 2
            blocks = [Bottleneck(inside, width, 4 * width, stride, dilation)]
            blocks += [Bottleneck(4 * width, width, 4 * width, 1, dilation) for _ in range(count - 1)]
            stages.append(nn.Sequential(*blocks))
            inside = 4 * width
        self.stages = nn.ModuleList(stages)

    def forward(self, depth: Tensor) -> tuple[Tensor, Tensor]:
        x = self.stem(depth.expand(-1, 3, -1, -1))
        for stage in self.stages[:3]:
            x = stage(x)
        return x, self.stages[3](x)


class A2JTiming(nn.Module):
    """A2J (Xiong et al., ICCV 2019), 176 x 176: 16 anchors at each cell of ResNet-50's stride-16 features.

    Three branches of four 3x3 convolutions predict in-plane offset, depth and weight of every anchor for every joint.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trunk = ResNet50(dilate_last=True)
        self.offset, self.depth, self.weight = (
            self._branch(inside, 16 * JOINTS * numbers) for inside, numbers in ((2048, 2), (2048, 1), (1024, 1))
        )
        cells = (torch.arange(11.0) * 16.0 + 8.0)[:, None] + torch.tensor([-6.0, -2.0, 2.0, 6.0])
        grid = torch.cartesian_prod(cells.flatten(), cells.flatten())
        self.register_buffer("anchors", grid, persistent=False)  # (1936, 2)

    @staticmethod
    def _branch(inside: int, outside: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for start in (inside, 256, 256, 256):
            layers += [nn.Conv2d(start, 256, 3, padding=1), nn.BatchNorm2d(256), nn.ReLU()]
        return nn.Sequential(*layers, nn.Conv2d(256, outside, 3, padding=1))

    def forward(self, depth: Tensor) -> Tensor:
        common, deep = self.trunk(depth)
        count = len(depth)
        offset = self.offset(deep).reshape(count, JOINTS, 2, -1).transpose(2, 3)  # (N, J, 1936, 2)
        z = self.depth(deep).reshape(count, JOINTS, -1)
        weight = self.weight(common).reshape(count, JOINTS, -1).softmax(-1)
        uv = (weight[..., None] * (offset + self.anchors)).sum(2)
        return torch.cat([uv, (weight * z).sum(-1, keepdim=True)], dim=-1)


def conv3(inside: int, outside: int, kernel: int) -> nn.Sequential:
    """Return a 3D convolution followed by BatchNorm."""
    return nn.Sequential(nn.Conv3d(inside, outside, kernel, padding=kernel // 2), nn.BatchNorm3d(outside))


class Residual3(nn.Module):
    """V2V-PoseNet's residual block of two 3x3x3 convolutions."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(conv3(inside, outside, 3), nn.ReLU(), conv3(outside, outside, 3))
        self.skip = nn.Identity() if inside == outside else conv3(inside, outside, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.inner(x) + self.skip(x))


class V2VTiming(nn.Module):
    """V2V-PoseNet (Moon et al., CVPR 2018), a single model: from 88^3 voxels to one 44^3 heat map per joint."""

    def __init__(self) -> None:
        super().__init__()
        self.front = nn.Sequential(
            *(conv3(1, 16, 7), nn.ReLU(), nn.MaxPool3d(2)),
            *(Residual3(16, 32), Residual3(32, 32), Residual3(32, 32)),
        )
        self.skip1, self.skip2 = Residual3(32, 32), Residual3(64, 64)
        self.down1, self.down2, self.middle = Residual3(32, 64), Residual3(64, 128), Residual3(128, 128)
        self.back2, self.back1 = Residual3(128, 128), Residual3(64, 64)
        self.up2, self.up1 = (
            nn.Sequential(nn.ConvTranspose3d(inside, inside // 2, 2, 2), nn.BatchNorm3d(inside // 2), nn.ReLU())
            for inside in (128, 64)
        )
        self.heads = nn.Sequential(
            *(Residual3(32, 32), conv3(32, 32, 1), nn.ReLU(), conv3(32, 32, 1), nn.ReLU()), nn.Conv3d(32, JOINTS, 1)
        )

    def forward(self, voxels: Tensor) -> Tensor:
        x = self.front(voxels)
        half = self.down1(F.max_pool3d(x, 2))
        quarter = self.back2(self.middle(self.down2(F.max_pool3d(half, 2))))
        half = self.back1(self.up2(quarter) + self.skip2(half))
        return self.heads(self.up1(half) + self.skip1(x))


class ResNetRegressorTiming(nn.Module):
    """A minimal ResNet-50 regressor for 96 x 96 crops: trunk, global average pooling, one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = ResNet50(dilate_last=False)
        self.joints = nn.Linear(2048, 3 * JOINTS)

    def forward(self, depth: Tensor) -> Tensor:
        return self.joints(self.trunk(depth)[1].mean((2, 3)))


class CrossInfoNetTiming(nn.Module):
    """CrossInfoNet (Du et al., CVPR 2019), 96 x 96: branches for palm and fingers that exchange residual features.

    The layer widths follow the released network and are at most a quarter of ResNet-50's. The heat maps, which are used
    only for training, are omitted.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv(1, 32, 5, 2), nn.ReLU(), nn.MaxPool2d(3, 1, 1))
        stages, inside = [], 32
        for width, count in ((16, 3), (32, 4), (64, 6), (64, 3)):
            blocks = [Bottleneck(inside if block == 0 else 4 * width, width, 4 * width) for block in range(count - 1)]
            stages.append(nn.Sequential(*blocks, Bottleneck(4 * width, width, 4 * width, 2)))  # 48, 24, 12, 6 -> half
            inside = 4 * width
        self.stages = nn.ModuleList(stages)
        self.laterals = nn.ModuleList(nn.Sequential(conv(inside, 256, 1), nn.ReLU()) for inside in (128, 256, 256))
        self.merges = nn.ModuleList(conv(256, 256, 1) for _ in range(2))
        self.palm, self.fingers = Bottleneck(256, 128, 256), Bottleneck(256, 128, 256)
        self.palm_end, self.fingers_end = (
            nn.Sequential(
                *(Bottleneck(512, 128, 256), nn.MaxPool2d(2), nn.Flatten()),
                *(nn.Linear(256 * 6 * 6, 1024, bias=False), nn.BatchNorm1d(1024), nn.ReLU()),
                *(nn.Linear(1024, 1024, bias=False), nn.BatchNorm1d(1024), nn.ReLU()),
            )
            for _ in range(2)
        )
        self.joints = nn.Linear(2048, 3 * JOINTS)

    def forward(self, depth: Tensor) -> Tensor:
        x = self.stages[0](self.stem(depth))
        maps = []
        for stage, lateral in zip(self.stages[1:], self.laterals, strict=True):
            x = stage(x)
            maps.append(lateral(x))
        hand = maps.pop()
        for merge in self.merges:
            below = maps.pop()
            hand = below + merge(F.interpolate(hand, size=below.shape[2:], mode="bilinear"))
        palm, fingers = self.palm(hand), self.fingers(hand)  # (N, 256, 12, 12)
        palm_end = self.palm_end(torch.cat([palm, hand - fingers], dim=1))
        fingers_end = self.fingers_end(torch.cat([fingers, hand - palm], dim=1))
        return self.joints(torch.cat([palm_end, fingers_end], dim=1))


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "JGR-P2O": (lambda: JGRP2O(JGRP2OConfig("nyu")), (1, 96, 96)),
    "A2J (timing model)": (A2JTiming, (1, 176, 176)),
    "CrossInfoNet (timing model)": (CrossInfoNetTiming, (1, 96, 96)),
    "ResNet-50 regressor (timing model)": (ResNetRegressorTiming, (1, 96, 96)),
    "V2V-PoseNet (timing model)": (V2VTiming, (1, 88, 88, 88)),
}


class Deployed(nn.Module):
    """JGR-P2O as `HandPoseEstimator` runs it on a CPU."""

    def __init__(self, backend: BackendName, precision: Precision) -> None:
        super().__init__()
        self.runtime = load_runtime(find_weights("nyu"), backend, "cpu", precision)

    def forward(self, x: Tensor) -> None:
        self.runtime.pose(x.numpy())


def print_as_used(rounds: int) -> list[dict[str, Any]]:
    """Print the table of single crops as users run them, and return its rows."""
    backends = installed_backends()[:-1]  # without torch, which is in the first table
    own = [f"JGR-P2O, {backend}, {precision}" for backend in backends for precision in get_args(Precision)]
    models: dict[str, nn.Module] = {
        name: Deployed(backend, precision)
        for name, (backend, precision) in zip(own, itertools.product(backends, get_args(Precision)), strict=True)
    }
    models |= {name: make().eval() for name, (make, _) in list(MODELS.items())[1:]}
    shapes = [(1, 96, 96)] * len(own) + [shape for _, shape in list(MODELS.values())[1:]]
    inputs = [torch.rand(1, *shape) for shape in shapes]
    taken: dict[str, list[float]] = {name: [] for name in models}
    for turn in range(rounds + 1):
        for (name, model), x in zip(models.items(), inputs, strict=True):
            median = turn_median(model, x)
            if turn:  # the first round is a warm-up
                taken[name].append(1000.0 * median)
    rows = []
    print(
        f"\n| As used, single crop | ms | {' | '.join(f'Speedup of {name}' for name in own[:2])} |\n|---|---|---|---|"
    )
    for name, times in taken.items():
        row: dict[str, Any] = {"model": name, "ms": statistics.median(times)}
        for mine in own[:2]:
            row[mine] = spread([other / time for other, time in zip(times, taken[mine], strict=True)])
        print(f"| {name} | {row['ms']:.1f} | {' | '.join(text(row[mine]) for mine in own[:2])} |")
        rows.append(row)
    return rows


def turn_median(model: nn.Module, x: Tensor) -> float:
    """Return the median time in s of the forward passes of one turn."""
    passes = [seconds(model, x)]
    while sum(passes) < TURN:
        passes.append(seconds(model, x))
    return statistics.median(passes)


def spread(ratios: list[float]) -> dict[str, float]:
    """Return the median, the lowest and the highest ratio of all rounds."""
    return {"ratio": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios)}


def text(ratio: dict[str, float]) -> str:
    """Return a result of `spread` as a cell of a table."""
    return "{ratio:.2f} ({lowest:.2f} to {highest:.2f})".format(**ratio)


def size_of(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> tuple[int, float]:
    """Return the number of parameters and the GFLOP for one input; a multiply-add counts as two operations."""
    with torch.device("meta"):
        model, x = make().eval(), torch.zeros(1, *shape)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(x)
    return sum(parameter.numel() for parameter in model.parameters()), counter.get_total_flops() / 1e9


def seconds(model: nn.Module, x: Tensor) -> float:
    """Return the time of one forward pass in s."""
    cuda = x.device.type == "cuda"
    clock = time.perf_counter if cuda or torch.get_num_threads() > 1 else time.process_time
    if cuda:
        torch.cuda.synchronize()
    begin = clock()
    with torch.inference_mode():
        model(x)
    if cuda:
        torch.cuda.synchronize()
    return clock() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    torch.manual_seed(0)
    torch.backends.cudnn.allow_tf32 = False
    ready = {}
    for name, (make, shape) in MODELS.items():
        layout = torch.channels_last if len(shape) == 3 else torch.channels_last_3d
        model = make().eval().to(options.device, memory_format=layout)
        inputs = {}
        for batch in options.batches:
            inputs[batch] = torch.rand(batch, *shape, device=options.device).to(memory_format=layout)
            if seconds(model, inputs[batch]) > SLOW:
                break
        ready[name] = model, inputs, size_of(make, shape)
    taken: dict[tuple[str, int], list[float]] = {}
    for _ in range(options.rounds):
        for name, (model, inputs, _) in ready.items():
            for batch, x in inputs.items():
                taken.setdefault((name, batch), []).append(turn_median(model, x))

    first, rows = next(iter(ready)), []
    setting = f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads, {options.device}, {platform.machine()}"
    print(setting)
    print("| | Input | Parameters | GFLOP | ms per single crop | Crops/s at best batch size | Speedup of JGR-P2O |")
    print("|---|---|---|---|---|---|---|")
    best = {  # crops per second in each round
        name: [max(batch / taken[name, batch][i] for batch in ready[name][1]) for i in range(options.rounds)]
        for name in ready
    }
    for name, (_, _, (parameters, work)) in ready.items():
        one = 1000.0 * statistics.median(taken[name, options.batches[0]])
        shape = " x ".join(map(str, MODELS[name][1][1:]))
        rows.append({"model": name, "input": shape, "parameters": parameters, "gflop": work, "ms": one})
        ratio = spread([ours / theirs for ours, theirs in zip(best[first], best[name], strict=True)])
        rows[-1] |= {"crops_per_s": statistics.median(best[name]), **ratio}
        print(
            f"| {name} | {shape} | {parameters / 1e6:.2f} M | {work:.2f} | {one:.1f} "
            f"| {rows[-1]['crops_per_s']:.1f} | {text(ratio)} |"
        )
    report = {"setting": setting, "models": rows}
    if options.device == "cpu":
        report["as_used"] = print_as_used(options.rounds)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
