"""The network on a CUDA GPU: float16, as CUDA graphs."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING, NamedTuple

from handpose.geometry.crop import PATCH

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from handpose.network.model import JGRP2O

_LARGEST_GRAPH = 512  # patches


class CudaGraphs:
    """The network as CUDA graphs, one per batch size: starting its kernels takes longer than one hand's arithmetic.

    Batches are filled up to a power of two. Two graphs take turns, each with its own pinned memory, so that one
    batch is copied while the GPU computes the one before.
    """

    def __init__(self, model: JGRP2O, device: torch.device) -> None:
        self._model, self._device = halve(fold_batch_norms(model)), device
        self._captured: dict[tuple[int, int], _Captured] = {}
        self._lock = threading.Lock()

    def __call__(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised joints and spread (N, J, 3) of patches (N, 1, 96, 96)."""
        import torch

        done: list[Tensor] = []
        running: list[tuple[_Captured, int]] = []
        with self._lock, torch.cuda.device(self._device):
            for turn, part in enumerate(torch.split(patches, _LARGEST_GRAPH)):
                if len(running) == 2:
                    done.append(_finished(*running.pop(0)))
                running.append((self._start(part, turn % 2), len(part)))
            done += [_finished(*each) for each in running]
        uvz, spread = torch.cat(done, dim=1)
        return uvz, spread

    def _start(self, patches: Tensor, turn: int) -> _Captured:
        key = 1 << (len(patches) - 1).bit_length(), turn
        if key not in self._captured:
            self._captured[key] = self._capture(key[0])
        captured = self._captured[key]
        captured.host_patches[: len(patches)] = patches
        captured.patches.copy_(captured.host_patches, non_blocking=True)
        captured.graph.replay()
        captured.host_results.copy_(captured.results, non_blocking=True)
        captured.done.record()
        return captured

    def _capture(self, size: int) -> _Captured:
        import torch

        patches = torch.zeros(size, 1, PATCH, PATCH, device=self._device)
        graph = torch.cuda.CUDAGraph()
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False):
            # cuDNN chooses its algorithms before the capture, which allows no trials.
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                for _ in range(3):
                    self._model(patches)
            torch.cuda.current_stream().wait_stream(aside)
            # Other threads may localise hands meanwhile.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                results = torch.stack(self._model(patches))
        return _Captured(
            graph,
            patches,
            results,
            torch.zeros(patches.shape, pin_memory=True),
            torch.zeros(results.shape, pin_memory=True),
            torch.cuda.Event(),  # type: ignore[no-untyped-call]
        )


class _Captured(NamedTuple):
    """A graph, what it reads and writes on the GPU, their twins in pinned memory, and when all is copied back."""

    graph: torch.cuda.CUDAGraph
    patches: Tensor  # (N, 1, 96, 96)
    results: Tensor  # (2, N, J, 3) joints and spread
    host_patches: Tensor
    host_results: Tensor
    done: torch.cuda.Event


def _finished(captured: _Captured, count: int) -> Tensor:
    captured.done.synchronize()
    return captured.host_results[:, :count].clone()


def fold_batch_norms(model: JGRP2O) -> JGRP2O:
    """The same network, changed in place: every BatchNorm is part of the convolution before it."""
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    for module in list(model.modules()):
        for (name, layer), (after, norm) in itertools.pairwise(list(module.named_children())):
            if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(layer, norm))
                setattr(module, after, nn.Identity())
    return model


def halve(model: JGRP2O) -> JGRP2O:
    """The same network, changed in place: in float16, but for its ends, where rounding moves joints most.

    The stem, the voting weights and the last offset maps stay in float32.
    """
    from handpose.network.model import GraphReasoning

    votes = [reasoning.vote for reasoning in model.reasonings if isinstance(reasoning, GraphReasoning)]
    precise = [model.stem, *votes, model.heads[-1]]
    kept = {id(tensor) for module in precise for tensor in module.parameters()}
    for tensor in (*model.parameters(), *model.buffers()):
        if id(tensor) not in kept:
            tensor.data = tensor.data.half()
    for module in precise:
        module.register_forward_pre_hook(lambda _module, features: (features[0].float(),))
    model.stem.register_forward_hook(lambda _stem, _patches, features: features.half())
    return model
