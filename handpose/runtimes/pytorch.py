"""The networks in PyTorch: always there, and the only backend for GPUs."""

from __future__ import annotations

import itertools
import threading
import warnings
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from handpose.errors import HandPoseError
from handpose.geometry.crop import PATCH
from handpose.localization.network import VIEW_STRIDE, Votes
from handpose.localization.numpy_runtime import votes_in_numpy
from handpose.runtimes.base import own_memory_errors
from handpose.weights.folder import Weights

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from handpose.network.model import JGRP2O

_LARGEST_GRAPH = 512  # patches


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
            self._run = _CudaGraphs(model, place) if place.type == "cuda" else _Frozen(model, place, example)

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


class _CudaGraphs:
    """The network as CUDA graphs, one per batch size: starting its kernels takes longer than one hand's arithmetic.

    Batches are filled up to a power of two. Two graphs take turns, each with its own pinned memory, so that one
    batch is copied while the GPU computes the one before.
    """

    def __init__(self, model: JGRP2O, device: torch.device) -> None:
        self._model, self._device = halve(fold_batch_norms(model)), device
        self._captured: dict[tuple[int, int], _Captured] = {}
        self._lock = threading.Lock()

    def __call__(self, patches: Tensor) -> tuple[Tensor, Tensor]:
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
