"""Runs the pose network on a CUDA GPU, in float16 and as CUDA graphs."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING, NamedTuple

from handpose.geometry.crop import PATCH

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from handpose.network.model import JGRP2O

_MAX_GRAPH_BATCH = 512  # patches


class CudaGraphs:
    """The pose network as CUDA graphs, one per batch size.

    For a single hand, launching the kernels one by one takes longer than the arithmetic. Batches are padded to a power
    of two. Two graphs alternate, each with its own pinned memory: one batch is copied while the GPU runs the other.
    """

    def __init__(self, model: JGRP2O, device: torch.device) -> None:
        self._model, self._device = halve(fold_batch_norms(model)), device
        self._captured: dict[tuple[int, int], _Captured] = {}
        self._lock = threading.Lock()

    def __call__(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Map patches (N, 1, 96, 96) to normalized joints and spread, each (N, J, 3)."""
        uvz, spread, *_ = self._run(patches, features=False)
        return uvz, spread

    def with_features(self, patches: Tensor) -> tuple[Tensor, ...]:
        """Return the same, and the joint features (N, S, J, C) if the network has any."""
        return self._run(patches, features=True)

    def _run(self, patches: Tensor, *, features: bool) -> tuple[Tensor, ...]:
        import torch

        finished: list[tuple[Tensor, ...]] = []
        running: list[tuple[_Captured, int]] = []
        with self._lock, torch.cuda.device(self._device):
            for turn, part in enumerate(torch.split(patches, _MAX_GRAPH_BATCH)):
                if len(running) == 2:
                    finished.append(_wait(*running.pop(0), features=features))
                running.append((self._start(part, turn % 2, features=features), len(part)))
            finished += [_wait(*each, features=features) for each in running]
        return tuple(torch.cat(parts) for parts in zip(*finished, strict=True))

    def _start(self, patches: Tensor, turn: int, *, features: bool) -> _Captured:
        key = 1 << (len(patches) - 1).bit_length(), turn
        if key not in self._captured:
            self._captured[key] = self._capture(key[0])
        captured = self._captured[key]
        captured.host_patches[: len(patches)] = patches
        captured.patches.copy_(captured.host_patches, non_blocking=True)
        captured.graph.replay()
        captured.host_results.copy_(captured.results, non_blocking=True)
        if features and captured.features is not None and captured.host_features is not None:
            captured.host_features.copy_(captured.features, non_blocking=True)
        captured.done.record()
        return captured

    def _capture(self, size: int) -> _Captured:
        import torch

        patches = torch.zeros(size, 1, PATCH, PATCH, device=self._device)
        graph = torch.cuda.CUDAGraph()
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False):
            # cuDNN benchmarks its algorithms in these calls, since the capture does not allow it.
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(3):
                    self._model(patches)
            torch.cuda.current_stream().wait_stream(stream)
            # Other threads may run the localizer network during the capture.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                uvz, spread, *features = self._model(patches)
                results = torch.stack([uvz, spread])
        return _Captured(
            graph,
            patches,
            results,
            torch.zeros(patches.shape, pin_memory=True),
            torch.zeros(results.shape, pin_memory=True),
            torch.cuda.Event(),  # type: ignore[no-untyped-call]
            *features,
            *(torch.zeros(each.shape, pin_memory=True) for each in features),
        )


class _Captured(NamedTuple):
    """A graph, its inputs and outputs on the GPU and in pinned memory, and the event after the last copy.

    The joint features are only copied if they are needed.
    """

    graph: torch.cuda.CUDAGraph
    patches: Tensor  # (N, 1, 96, 96)
    results: Tensor  # (2, N, J, 3) joints and spread
    host_patches: Tensor
    host_results: Tensor
    done: torch.cuda.Event
    features: Tensor | None = None  # (N, S, J, C)
    host_features: Tensor | None = None


def _wait(captured: _Captured, count: int, *, features: bool) -> tuple[Tensor, ...]:
    captured.done.synchronize()
    uvz, spread = captured.host_results[:, :count].clone()
    if features and captured.host_features is not None:
        return uvz, spread, captured.host_features[:count].clone()
    return uvz, spread


def fold_batch_norms(model: JGRP2O) -> JGRP2O:
    """Fold every BatchNorm into the preceding convolution, in place, and return the network."""
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    for module in list(model.modules()):
        for (name, layer), (after, norm) in itertools.pairwise(list(module.named_children())):
            if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(layer, norm))
                setattr(module, after, nn.Identity())
    return model


def halve(model: JGRP2O) -> JGRP2O:
    """Convert the network to float16, in place, and return it.

    The stem, the vote weights and the last offset maps remain in float32: rounding them would move joints most.
    """
    from handpose.network.model import GraphReasoning

    votes = [reasoning.vote for reasoning in model.reasonings if isinstance(reasoning, GraphReasoning)]
    float32 = [model.stem, *votes, model.heads[-1]]
    excluded = {id(tensor) for module in float32 for tensor in module.parameters()}
    for tensor in (*model.parameters(), *model.buffers()):
        if id(tensor) not in excluded:
            tensor.data = tensor.data.half()
    for module in float32:
        module.register_forward_pre_hook(lambda _module, features: (features[0].float(),))
    model.stem.register_forward_hook(lambda _stem, _patches, features: features.half())
    return model
