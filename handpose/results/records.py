"""The record of a frame: its pose, or the reason why it failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from handpose.geometry.layouts import JointLayout
from handpose.results.pose import HandPose


@dataclass(frozen=True)
class FailedFrame:
    """A frame without a pose because its image could not be read or predicted.

    Attributes:
        source: Path of the image.
        reason: The error, on one line, without the path at its start.
        layout: Layout of the joints that a pose would have.
    """

    source: str
    reason: str
    layout: JointLayout
    status: Literal["error"] = "error"

    @classmethod
    def of(cls, source: str, error: Exception | None, layout: JointLayout) -> FailedFrame:
        """Return the record of a frame that failed with an error, whose message may start with the path."""
        return cls(source, str(error).removeprefix(f"{source}: "), layout)

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON types."""
        return {"source": self.source, "status": self.status, "reason": self.reason}


Record = HandPose | FailedFrame
