"""Coordinate frames of a hand, and the pose of a camera in another frame."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np

from handpose.errors import HandPoseError
from handpose.geometry.layouts import JointLayout
from handpose.io.choices import Hand
from handpose.io.text import MAX_SETTINGS_BYTES, read_limited
from handpose.io.warn import warn

_MAX_SHEAR = 1e-3  # tolerance for a rotation matrix whose numbers were written with few decimals
_MAX_DISTANCE_M = 100.0  # a larger translation is most likely in millimeters
_USUAL_DISTANCE_M = 10.0  # larger ones may be those of a map, or millimeters between a camera and the flange of a robot


def wrist_frame(xyz: np.ndarray, layout: JointLayout, hand: Hand) -> np.ndarray:
    """Return the pose (4, 4) of the wrist in the frame of the joints, with its translation in their unit.

    x points from the wrist to the middle knuckle. y points to the left of a hand with its palm down: toward the thumb
    of a right hand, and toward the little finger of a left hand. z points out of the back of the hand.

    Args:
        xyz: (J, 3) joints.
        layout: Layout of the joints.
        hand: Which hand the joints belong to.

    Raises:
        HandPoseError: The layout does not contain the wrist and the knuckles.
    """
    wrist, index, middle, pinky = _palm(xyz, layout, "index_mcp", "middle_mcp", "pinky_mcp")
    return _frame(wrist, middle - wrist, index - pinky if hand == "right" else pinky - index)


def operator_frame(xyz: np.ndarray, layout: JointLayout, hand: Hand) -> np.ndarray:
    """Return the pose (4, 4) of the frame in which dex-retargeting expects joints, with its origin at the wrist.

    z points from the wrist to the middle knuckle. y lies in the plane of these two points and the index knuckle; it
    points toward the thumb of a right hand, and toward the little finger of a left hand. x points out of the palm.
    dex-retargeting determines the same plane with a singular value decomposition of the three points.

    The arguments are those of `wrist_frame`.

    Raises:
        HandPoseError: The layout does not contain the wrist and the knuckles.
    """
    wrist, index, middle = _palm(xyz, layout, "index_mcp", "middle_mcp")
    frame = _frame(wrist, middle - wrist, index - middle if hand == "right" else middle - index)
    frame[:3, :3] = np.column_stack([-frame[:3, 2], frame[:3, 1], frame[:3, 0]])
    return frame


def to_frame(xyz: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Return points (..., 3) in a frame, given its pose (4, 4) in the frame of the points."""
    moved: np.ndarray = (xyz - frame[:3, 3]) @ frame[:3, :3]
    return moved


def read_extrinsics(path: str | Path) -> np.ndarray:
    """Read the pose (4, 4) of a camera in another frame, such as that of a robot; its translation is in meters.

    The matrix converts points from the camera frame to the other frame. The file is text with 16 numbers, row by row;
    JSON with 4 lists of 4 numbers; or a `.npy` file.

    Raises:
        HandPoseError: The file cannot be read, or it does not contain the matrix of a rigid transform in meters.

    Warns:
        UserWarning: The translation may be in millimeters.
    """
    path = Path(path)
    matrix = _parse_matrix(path, read_limited(path, MAX_SETTINGS_BYTES))
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise HandPoseError(f"{path}: expected the 16 finite numbers of a 4 x 4 matrix, got shape {matrix.shape}")
    rotation, translation = matrix[:3, :3], matrix[:3, 3]
    if np.abs(matrix[3] - (0.0, 0.0, 0.0, 1.0)).max() > _MAX_SHEAR:
        raise HandPoseError(f"{path}: the last row must be 0 0 0 1, got {matrix[3].tolist()}; is it transposed?")
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > _MAX_SHEAR or np.linalg.det(rotation) < 0:
        raise HandPoseError(f"{path}: the upper left 3 x 3 numbers are not a rotation (they scale, shear or mirror)")
    if np.linalg.norm(translation) > _MAX_DISTANCE_M:
        raise HandPoseError(f"{path}: the translation must be in meters, got {translation.tolist()}")
    if (distance := np.linalg.norm(translation)) > _USUAL_DISTANCE_M:
        warn(f"{path}: the translation is {distance:.0f} m; if it is in mm, divide it by 1000")
    return matrix


def _palm(xyz: np.ndarray, layout: JointLayout, *knuckles: str) -> np.ndarray:
    """Return the wrist and knuckles (1 + K, 3)."""
    if not {"wrist", *knuckles} <= set(layout.joints):
        raise HandPoseError(
            f"the {layout.name} layout has no wrist and knuckles, so the frame of the hand is unknown; use msra weights"
        )
    palm: np.ndarray = xyz[[layout.joints.index(joint) for joint in ("wrist", *knuckles)]]
    return palm


def _frame(origin: np.ndarray, forward: np.ndarray, left: np.ndarray) -> np.ndarray:
    """Return the pose (4, 4) of a frame with x along `forward`, and y in the half plane of `left`; NaN without one."""
    with np.errstate(invalid="ignore"):
        x = forward / np.linalg.norm(forward)
        z = np.cross(x, left)
        z /= np.linalg.norm(z)
    frame = np.eye(4)
    frame[:3] = np.column_stack([x, np.cross(z, x), z, origin])
    return frame


def _parse_matrix(path: Path, content: bytes) -> np.ndarray:
    try:
        if path.suffix.lower() == ".npy":
            return np.asarray(np.load(io.BytesIO(content), allow_pickle=False), dtype=np.float64)
        text = content.decode("utf-8-sig")
        if path.suffix.lower() == ".json":
            return np.array(json.loads(text), dtype=np.float64)
        numbers = np.array(text.replace(",", " ").split(), dtype=np.float64)
        return numbers.reshape(4, 4) if numbers.size == 16 else numbers
    except (ValueError, TypeError, EOFError, RecursionError, MemoryError) as error:
        raise HandPoseError(f"{path}: does not contain a matrix ({str(error)[:100]})") from None
