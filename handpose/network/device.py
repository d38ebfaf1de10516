"""The device that a network runs on."""

from __future__ import annotations

import torch

from handpose.errors import HandPoseError, brief


def available_device(name: str, kinds: tuple[str, ...] = ()) -> torch.device:
    """Return a device after checking that it works.

    Args:
        name: `auto` (a CUDA GPU if there is one, otherwise the CPU), `cpu`, `cuda`, `cuda:1`, `mps`, or another device
            of PyTorch.
        kinds: Kinds of devices that are supported, such as `cpu`; all by default.

    Raises:
        HandPoseError: The device does not exist, is not supported or cannot be used; the message is one line.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise HandPoseError(f"device must be auto, cpu, cuda, cuda:1, ... or mps, got {brief(name)}") from None
    if kinds and device.type not in kinds:
        reason = f"only {' and '.join(kinds)} are supported here"
    elif device.type == "cuda" and not torch.cuda.is_available():
        reason = "PyTorch finds no CUDA GPU" if torch.version.cuda else "this PyTorch was installed without CUDA"
    elif device.type == "mps" and not torch.backends.mps.is_available():
        reason = "PyTorch finds no Apple GPU"
    else:
        try:
            torch.zeros(1, device=device).item()
            return device
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            reason = str(error).splitlines()[0]
    raise HandPoseError(f"device {name!r} cannot be used: {reason}; use auto or cpu")
