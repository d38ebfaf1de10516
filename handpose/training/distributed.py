"""A training on several GPUs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def process_group(device: str) -> Iterator[str]:
    """This process's device, within the group that `torchrun` started; alone without `torchrun`."""
    if "WORLD_SIZE" not in os.environ:
        yield device
        return
    cuda = device.startswith("cuda")
    torch.distributed.init_process_group("nccl" if cuda else "gloo")
    try:
        yield f"cuda:{os.environ['LOCAL_RANK']}" if cuda else device
        torch.distributed.barrier()  # none may leave while another still talks to it
    finally:
        torch.distributed.destroy_process_group()
