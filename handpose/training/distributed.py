"""Training in several processes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch
from torch import Tensor

from handpose.errors import HandPoseError
from handpose.network.device import available_device


def training_device(name: str) -> str:
    """Return the device to train on; `auto` is a CUDA GPU if there is one, otherwise the CPU.

    Raises:
        HandPoseError: The device cannot be used, or is neither a CPU nor a CUDA GPU.
    """
    return str(available_device(name, ("cpu", "cuda")))


@contextlib.contextmanager
def process_group(device: str) -> Iterator[str]:
    """Join the process group started by `torchrun`, if any, and yield the device of this process."""
    if "WORLD_SIZE" not in os.environ:
        yield device
        return
    cuda = device.startswith("cuda")
    torch.distributed.init_process_group("nccl" if cuda else "gloo")
    try:
        yield f"cuda:{os.environ['LOCAL_RANK']}" if cuda else device
        torch.distributed.barrier()  # no process may leave while another one still communicates with it
    finally:
        torch.distributed.destroy_process_group()


class Processes:
    """The processes of the current group, or this process if there is no group.

    Attributes:
        rank: Index of this process; process 0 validates and saves.
        count: Number of processes.
    """

    def __init__(self) -> None:
        grouped = torch.distributed.is_available() and torch.distributed.is_initialized()
        self.rank = torch.distributed.get_rank() if grouped else 0
        self.count = torch.distributed.get_world_size() if grouped else 1

    def share(self, batch: int) -> int:
        """Return the number of crops of each process.

        Raises:
            HandPoseError: The batch cannot be divided into equal shares of two or more crops.
        """
        share, rest = divmod(batch, self.count)
        if rest or share < 2:
            raise HandPoseError(
                f"a batch of {batch} crops must provide at least two crops, and equally many, to each of "
                f"{self.count} processes"
            )
        return share

    def broadcast(self, stop: bool, device: torch.device) -> bool:
        """Return the stop decision of process 0, so that all processes stop at the same point."""
        if self.count == 1:
            return stop
        decision = torch.tensor(float(stop), device=device)
        torch.distributed.broadcast(decision, 0)
        return bool(decision)

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean over all processes."""
        if self.count > 1:
            torch.distributed.all_reduce(value)
        return value / self.count
