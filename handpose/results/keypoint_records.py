"""Records that also contain the joints in the order, unit and frame of another program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from handpose.errors import HandPoseError
from handpose.geometry.joint_orders import reorder
from handpose.geometry.layouts import JointLayout
from handpose.io.choices import JointOrder, LengthUnit
from handpose.results.pose import HandPose


@dataclass(frozen=True, eq=False)
class KeypointFormat:
    """The order, unit and frame of keypoints.

    Attributes:
        order: Joint order; None for the joints of the layout.
        unit: Unit of the positions.
        extrinsics: Pose (4, 4) of the camera in the frame of the keypoints, with its translation in meters; None for
            the camera frame.
    """

    order: JointOrder | None = None
    unit: LengthUnit = "mm"
    extrinsics: np.ndarray | None = None

    def settings(self) -> dict[str, Any]:
        """Return the format as JSON types."""
        extrinsics = None if self.extrinsics is None else self.extrinsics.tolist()
        return {"order": self.order, "unit": self.unit, "extrinsics": extrinsics}

    def record(self, pose: HandPose) -> dict[str, Any]:
        """Return the keypoints of a pose, and the pose of its wrist (4, 4) if the layout determines it.

        Joints that the weights do not predict are null.
        """
        unit_m = 1.0 if self.unit == "m" else 1e-3
        camera = np.eye(4) if self.extrinsics is None else self.extrinsics.copy()
        camera[:3, 3] /= unit_m
        keypoints = pose.keypoints(self.order, unit=self.unit)
        digits = 5 if self.unit == "m" else 2
        try:
            wrist = camera @ pose.wrist(self.unit)
        except HandPoseError:
            wrist = None
        return {
            "order": self.order or pose.layout.name,
            "unit": self.unit,
            "frame": "camera" if self.extrinsics is None else "extrinsics",
            "names": list(keypoints.names),
            "xyz": _rows(keypoints.xyz @ camera[:3, :3].T + camera[:3, 3], digits),
            "wrist": None if wrist is None or np.isnan(wrist).any() else wrist.round(6).tolist(),
        }


@dataclass(frozen=True, eq=False, repr=False)
class _PoseWithKeypoints(HandPose):
    format: KeypointFormat = KeypointFormat()

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "keypoints": self.format.record(self)}


def keypoint_adder(format: KeypointFormat | None, layout: JointLayout) -> Callable[[HandPose], HandPose]:
    """Return a function that adds the field `keypoints` to the record of a pose; without a format, it adds nothing.

    Raises:
        HandPoseError: The layout contains no joint of the order.
    """
    if format is None:
        return lambda pose: pose
    if not reorder(np.zeros((len(layout), 3)), layout, format.order).measured.any():
        raise HandPoseError(f"the {layout.name} layout contains no joints of {format.order}; use msra weights")
    return lambda pose: _PoseWithKeypoints(
        **{field.name: getattr(pose, field.name) for field in fields(HandPose)}, format=format
    )


def _rows(points: np.ndarray, digits: int) -> list[list[float] | None]:
    """Return points (K, 3) as lists, with None for NaN."""
    return [None if np.isnan(point).any() else point.round(digits).tolist() for point in points]
