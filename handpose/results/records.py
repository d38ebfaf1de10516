"""What is written for a frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from handpose.geometry.layouts import JointLayout
from handpose.results.pose import HandPose


@dataclass(frozen=True)
class FailedFrame:
    """A frame that has no pose because something is wrong with it.

    Attributes:
        source: the image's path.
        reason: what is wrong, one line.
        layout: of the joints that a pose would have.
    """

    source: str
    reason: str
    layout: JointLayout
    status: Literal["error"] = "error"

    def to_dict(self) -> dict[str, Any]:
        """The record, as JSON's types."""
        return {"source": self.source, "status": self.status, "reason": self.reason}


Record = HandPose | FailedFrame
