"""The result of a prediction: the joints of one hand in mm in the camera frame."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np

from handpose.errors import HandPoseError
from handpose.geometry.camera import Camera
from handpose.geometry.layouts import LAYOUTS, JointLayout
from handpose.io.choices import Hand
from handpose.io.depth.units import DepthUnit, parse_unit
from handpose.io.outputs import write_output
from handpose.io.text import describe as describe_error
from handpose.network.calibration import BAD_JOINT
from handpose.results.joints import HandJoints, Status
from handpose.results.overlay import draw_skeleton, enlarged_depth_picture, skeleton_picture, write_legend
from handpose.results.show import show_picture, to_html, to_png

_HANDS, _STATUSES = get_args(Hand), get_args(Status)
_ARRAYS = {"xyz": "xyz_mm", "uvz": "uvz", "spread": "spread_mm", "error_mm": "error_mm", "center": "center_mm"}
"""By attribute, the key of each array in a record."""


class PoseWarning(NamedTuple):
    """A reason why a pose may be wrong although the network is confident.

    Attributes:
        code: Short name of the problem, which stays the same between versions, such as `camera_assumed`.
        message: The problem and how to fix it, in one line.
    """

    code: str
    message: str


@dataclass(frozen=True, eq=False, repr=False)
class HandPose(HandJoints):
    """The joints of one hand.

    Attributes:
        xyz: (J, 3) mm, camera frame: x right, y down, z forward. NaN if there is no hand.
        uvz: (J, 3) the same joints in pixels of the original image, and depth in mm.
        spread: (J, 3) mm along x, y, z: standard deviation of the pixels' votes for each joint.
        error_mm: (J,) expected error of each joint, mm. NaN if there is no hand, or if the weights are not calibrated.
        layout: Names and order of the joints.
        status: `ok`; `low_confidence` if the joints may well be wrong, by more than 20 mm on average; or `no_hand` if
            no hand was found in the image.
        hand: Which hand was assumed or predicted.
        center: (3,) mm, camera frame: center of the cropped cube.
        cube: Side of this cube, mm.
        camera: Intrinsics of the image.
        model: Name of the weights.
        source: Path of the image, or empty.
        warnings: Reasons why the joints may be wrong, such as an implausible camera; usually empty.
        time: Capture time in s, if the image is a frame of a recording.
        hand_index: Index of the hand among those in the image: nearest first, or by the id of the track.
        picture: Path of the picture that shows the pose, or empty.
        reason: Why no hand was found, or why the pose may not be that of a hand, in one line; otherwise empty.
        depth_unit: Unit of the values in the image; the joints are in mm in any case.
        side_log_odds: If `hand` was predicted, the natural logarithm of the odds that it is correct; otherwise NaN.
        hand_log_odds: Natural logarithm of the odds that the cube shows a hand; NaN if there is no pose, or if the
            weights have no head for this.
        given_side_log_odds: If `hand` was specified, the same, but estimated from one pass or, if the image shows
            several hands, by comparing them; NaN if the weights have no head for this.
    """

    xyz: np.ndarray
    uvz: np.ndarray
    spread: np.ndarray
    error_mm: np.ndarray
    layout: JointLayout
    status: Status
    hand: Hand
    center: np.ndarray
    cube: float
    camera: Camera
    model: str = ""
    source: str = ""
    warnings: tuple[PoseWarning, ...] = ()
    time: float | None = None
    hand_index: int = 0
    picture: str = ""
    reason: str = ""
    depth_unit: DepthUnit = "mm"
    side_log_odds: float = math.nan
    hand_log_odds: float = math.nan
    given_side_log_odds: float = math.nan

    def __post_init__(self) -> None:
        if self.status not in _STATUSES or self.hand not in _HANDS:
            raise HandPoseError(
                f"status must be one of {', '.join(_STATUSES)} and hand one of {', '.join(_HANDS)}, "
                f"got {self.status!r:.40} and {self.hand!r:.40}"
            )
        if not 0 < self.cube < float("inf"):
            raise HandPoseError(f"the side of the cube must be above 0 mm, got {self.cube}")
        for name in _ARRAYS:
            _check_array(self, name)

    @classmethod
    def no_hand(
        cls,
        layout: JointLayout,
        *,
        hand: Hand,
        cube: float,
        camera: Camera,
        model: str = "",
        source: str = "",
        reason: str = "",
        depth_unit: DepthUnit = "mm",
    ) -> HandPose:
        """Return the result for an image without a hand, for a reason: all values are NaN."""
        nan = np.full((len(layout), 3), np.nan)
        return cls(
            *(nan, nan, nan, nan[:, 0], layout, "no_hand", hand, nan[0], cube, camera, model, source),
            reason=reason,
            depth_unit=depth_unit,
        )

    def __repr__(self) -> str:
        hand = f"{self.hand} hand at {self.center[2]:.0f} mm, {self.status}"
        description = describe(self) if self.status == "no_hand" else hand
        return f"HandPose({description}, {len(self.layout)} {self.layout.name} joints)"

    def to_dict(self) -> dict[str, Any]:
        """Return the pose as JSON types; NaN becomes null.

        The keys `time_s`, `picture`, `reason` and `unit` (that of the depth values, if it is not mm) may be missing.
        """
        return {
            "source": self.source,
            "status": self.status,
            "model": self.model,
            "layout": self.layout.name,
            "hand": self.hand,
            "hand_index": self.hand_index,
            "joints": list(self.layout.joints),
            **{key: _to_list(getattr(self, name), 2) for name, key in _ARRAYS.items()},
            "cube_mm": self.cube,
            "camera": self.camera.to_dict(),
            "warnings": [warning._asdict() for warning in self.warnings],
            **({} if self.time is None else {"time_s": self.time}),
            **({"picture": self.picture} if self.picture else {}),
            **({"reason": self.reason} if self.reason else {}),
            **({"unit": self.depth_unit} if self.depth_unit != "mm" else {}),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> HandPose:
        """Create a pose from its record; `to_dict` rounds numbers to two decimals.

        Raises:
            HandPoseError: a field is missing or invalid, or the record is that of a failed frame.
        """
        if isinstance(values, dict) and values.get("status") == "error":
            raise HandPoseError(f"{values.get('source')}: has no pose because the frame failed: {values.get('reason')}")
        try:
            arrays: dict[str, Any] = {name: np.array(values[key], dtype=np.float64) for name, key in _ARRAYS.items()}
            return cls(
                **arrays,
                layout=LAYOUTS[values["layout"]],
                status=values["status"],
                hand=values["hand"],
                cube=float(values["cube_mm"]),
                camera=Camera.from_dict(values["camera"]),
                model=values["model"],
                source=values["source"],
                hand_index=int(values.get("hand_index", 0)),
                warnings=tuple(PoseWarning(**warning) for warning in values.get("warnings", ())),
                time=None if values.get("time_s") is None else float(values["time_s"]),
                picture=str(values.get("picture") or ""),
                reason=str(values.get("reason") or ""),
                depth_unit=parse_unit(str(values.get("unit") or "mm")),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise HandPoseError(f"not a hand pose record: {describe_error(error)}") from None

    def to_json(self) -> str:
        """Return the record `to_dict` as one line of JSON."""
        return json.dumps(self.to_dict())

    def save(self, path: str | Path, *, force: bool = False) -> None:
        """Write the record `to_dict` to a JSON file; an existing file is overwritten only with `force`.

        Raises:
            HandPoseError: The file exists, or cannot be written.
        """
        write_output(path, (json.dumps(self.to_dict(), indent=2) + "\n").encode(), force=force)

    def draw(self, depth: np.ndarray) -> np.ndarray:
        """Draw the hand on top of its depth image (H, W) in mm, as `draw_hands` does."""
        return draw_hands(depth, [self])

    def show(self, depth: np.ndarray) -> None:
        """Show the picture of `draw` below the cell of a notebook, or else in the browser.

        Raises:
            HandPoseError: There is neither a notebook nor a browser.
        """
        show_picture(self.draw(depth))

    def _repr_png_(self) -> bytes | None:
        """Return the picture that notebooks show: the hand from the front and from the side."""
        if self.status == "no_hand":
            return None
        picture = skeleton_picture(self.xyz, self.layout)
        write_legend(picture, [describe(self)])
        return to_png(picture)

    def _repr_html_(self) -> str | None:
        """Return this picture with the warnings, or None if there are none and notebooks should show the picture."""
        if self.status != "no_hand" and not self.warnings:
            return None
        return to_html(self._repr_png_(), describe(self), [warning.message for warning in self.warnings])


def draw_hands(depth: np.ndarray, poses: Sequence[HandPose]) -> np.ndarray:
    """Draw hands on top of their depth image, with a legend of side, distance and expected error.

    The picture is the image enlarged by a whole number to a width of at least 960 px. Joints with an expected error
    above 20 mm are hollow.

    Args:
        depth: (H, W) mm, 0 = missing.
        poses: The hands in the image, or poses without a hand.

    Returns:
        (H', W', 3) uint8 BGR.

    Raises:
        HandPoseError: `depth` does not have the size of the image that a pose was predicted from.
    """
    for pose in poses:
        check_image(pose, depth)
    hands = [pose for pose in poses if pose.status != "no_hand"]
    near = min((pose.center[2] - pose.cube / 2 for pose in hands), default=float("nan"))
    picture, scale = enlarged_depth_picture(depth, near)
    for pose in hands:
        draw_skeleton(picture, pose.uvz, pose.layout, scale=scale, uncertain=pose.error_mm > BAD_JOINT)
    write_legend(picture, [describe(pose) for pose in hands or poses[:1]])
    return picture


def check_image(pose: HandPose, depth: np.ndarray) -> None:
    """Check that a depth image has the size of the one that a pose was predicted from.

    Raises:
        HandPoseError: It has not.
    """
    shape = np.shape(depth)
    size = (pose.camera.height, pose.camera.width) if pose.camera.width and pose.camera.height else shape[:2]
    if shape != size:
        raise HandPoseError(f"depth must be the image of the pose, an array {size} in mm, got one of {shape}")


def describe(pose: HandPose) -> str:
    """Return side, distance, mean expected error and what is doubtful about a hand, or why there is none, as a line."""
    if pose.status == "no_hand":
        return f"no hand: {pose.reason}" if pose.reason else "no hand"
    error = np.mean(pose.error_mm)
    calibrated = "" if np.isnan(error) else f", ±{error:.0f} mm"
    uncertain = ", low confidence" if pose.status == "low_confidence" else ""
    uncertain += f": {pose.reason}" if uncertain and pose.reason else ""
    return f"{pose.hand} hand at {pose.center[2]:.0f} mm{calibrated}{uncertain}"


def _check_array(pose: HandPose, name: str) -> None:
    """Check the shape of an array of a pose, and that its values are known if there is a hand."""
    array, joints = getattr(pose, name), len(pose.layout)
    shape = (joints,) if name == "error_mm" else (3,) if name == "center" else (joints, 3)
    if array.shape != shape:
        raise HandPoseError(f"{name} of a {pose.layout.name} pose must be {shape}, got {array.shape}")
    is_known = pose.status != "no_hand" and not (name == "error_mm" and np.isnan(array).all())
    if not (np.isfinite(array) if is_known else np.isnan(array)).all():
        raise HandPoseError(f"{name} must be finite if there is a hand and NaN otherwise, got status {pose.status}")


def _to_list(array: np.ndarray, digits: int) -> list[Any]:
    rounded = np.round(array, digits)
    if not np.isfinite(rounded).all():
        rounded = np.where(np.isfinite(rounded), rounded.astype(object), None)  # type: ignore[call-overload]
    values: list[Any] = rounded.tolist()
    return values
