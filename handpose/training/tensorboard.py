"""Logging of training runs for TensorBoard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from handpose.errors import HandPoseError


def tensorboard_log(run: str | Path) -> Callable[[dict[str, float]], None]:
    """Return a function that writes a row of values with its `step` to the run folder.

    Raises:
        HandPoseError: The package tensorboard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise HandPoseError(
            "logging for TensorBoard requires the package tensorboard: pip install 'handpose[tensorboard]'"
        ) from None
    writer = SummaryWriter(str(run))

    def log(row: dict[str, float]) -> None:
        for name, value in row.items():
            writer.add_scalar(name, value, int(row["step"]))
        writer.flush()

    return log
