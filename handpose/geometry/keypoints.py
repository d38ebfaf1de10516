"""Joints and wrists in the order, unit and frame of other programs."""

from __future__ import annotations

from typing import get_args

import numpy as np

from handpose.errors import HandPoseError
from handpose.geometry.hand_frames import operator_frame, to_frame, wrist_frame
from handpose.geometry.joint_orders import Keypoints, reorder
from handpose.geometry.layouts import JointLayout
from handpose.io.choices import Frame, Hand, JointOrder, LengthUnit

_FRAMES = get_args(Frame)
_UNITS = {"mm": 1.0, "m": 1000.0}


def convert_joints(
    xyz: np.ndarray, layout: JointLayout, hand: Hand, *, order: JointOrder | None, unit: LengthUnit, frame: Frame
) -> Keypoints:
    """Return joints in another order, unit and frame.

    Args:
        xyz: (J, 3) joints in mm, camera frame.
        layout: Layout of the joints.
        hand: Which hand they belong to.
        order: Joint order of another program, or None for that of the layout.
        unit: Unit of the result.
        frame: Frame of the result: that of the camera, of the wrist, or of dex-retargeting.

    Raises:
        HandPoseError: The order, unit or frame is unknown, or the layout does not determine the frame.
    """
    if frame not in _FRAMES:
        raise HandPoseError(f"the frame must be one of {', '.join(_FRAMES)}, got {frame!r:.40}")
    if frame != "camera":
        hand_frame = wrist_frame if frame == "wrist" else operator_frame
        xyz = to_frame(xyz, hand_frame(xyz, layout, hand))
    return reorder(xyz / _millimeters(unit), layout, order)


def wrist_pose(xyz: np.ndarray, layout: JointLayout, hand: Hand, unit: LengthUnit) -> np.ndarray:
    """Return the pose (4, 4) of the wrist in the camera frame, see `wrist_frame`, with its translation in `unit`.

    Args:
        xyz: (J, 3) joints in mm, camera frame.
        layout: Layout of the joints.
        hand: Which hand they belong to.
        unit: Unit of the translation.

    Raises:
        HandPoseError: The unit is unknown, or the layout does not contain the wrist and the knuckles.
    """
    pose = wrist_frame(xyz, layout, hand)
    pose[:3, 3] /= _millimeters(unit)
    return pose


def _millimeters(unit: LengthUnit) -> float:
    """Return the number of millimeters in a unit."""
    if unit not in _UNITS:
        raise HandPoseError(f"the unit must be one of {', '.join(_UNITS)}, got {unit!r:.40}")
    return _UNITS[unit]
