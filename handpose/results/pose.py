"""The result: one hand's joints, in millimetres in the camera's frame, with all that is needed to read them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from handpose.choices import Hand
from handpose.errors import HandPoseError
from handpose.geometry.articulation import FingerState, finger_states, joint_angles
from handpose.geometry.camera import Camera
from handpose.geometry.layouts import LAYOUTS, JointLayout
from handpose.network.calibration import BAD_JOINT
from handpose.results.overlay import draw_pose

Status = Literal["ok", "low_confidence", "no_hand"]
_HANDS, _STATUSES = get_args(Hand), get_args(Status)


@dataclass(frozen=True, eq=False)
class HandPose:
    """The joints of one hand.

    Attributes:
        xyz: (J, 3) mm, camera frame: x right, y down, z forward. NaN if there is no hand.
        uvz: (J, 3) the same joints in pixels of the original image and mm.
        spread: (J, 3) mm along x, y, z: how far the pixels' votes for a joint disagree.
        error_mm: (J,) how far each joint is expected to be off, mm. NaN if there is no hand, or if the weights are
            not calibrated.
        layout: names and order of the joints.
        status: `ok`; `low_confidence` when the joints are likely wrong, by more than 20 mm on average; or `no_hand`
            when nothing in the image can be a hand.
        hand: which hand it was taken for.
        center: (3,) mm, camera frame: the centre of the cube that was cut.
        cube: side of that cube, mm.
        camera: intrinsics that xyz and uvz belong to.
        model: name of the weights.
        source: the image's path, or empty.
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

    def __post_init__(self) -> None:
        if self.status not in _STATUSES or self.hand not in _HANDS:
            raise HandPoseError(
                f"status must be one of {_STATUSES} and hand one of {_HANDS}, "
                f"got {self.status!r:.40} and {self.hand!r:.40}"
            )
        if not 0 < self.cube < float("inf"):
            raise HandPoseError(f"the cube's side must be above 0 mm, got {self.cube}")
        joints, a_hand = len(self.layout), self.status != "no_hand"
        for name, shape in (("xyz", (joints, 3)), ("uvz", (joints, 3)), ("spread", (joints, 3)),
                            ("error_mm", (joints,)), ("center", (3,))):  # fmt: skip
            array = getattr(self, name)
            if array.shape != shape:
                raise HandPoseError(f"{name} of a {self.layout.name} pose must be {shape}, got {array.shape}")
            uncalibrated = name == "error_mm" and np.isnan(array).all()
            if not (np.isfinite(array) if a_hand and not uncalibrated else np.isnan(array)).all():
                raise HandPoseError(
                    f"{name} must be all finite if there is a hand and all NaN if not, got {self.status}"
                )

    @classmethod
    def no_hand(
        cls, layout: JointLayout, *, hand: Hand, cube: float, camera: Camera, model: str = "", source: str = ""
    ) -> HandPose:
        """The answer for an image without a hand: NaN everywhere."""
        nothing = np.full((len(layout), 3), np.nan)
        return cls(
            nothing, nothing, nothing, nothing[:, 0], layout, "no_hand", hand, nothing[0], cube, camera, model, source
        )

    def __getitem__(self, joint: str) -> np.ndarray:
        """The named joint's xyz (3,)."""
        if joint not in self.layout.joints:
            raise KeyError(
                f"{joint!r} is not a joint of the {self.layout.name} layout: {', '.join(self.layout.joints)}"
            )
        return self.xyz[self.layout.joints.index(joint)]  # type: ignore[no-any-return]

    def angles(self) -> dict[str, float]:
        """How far each finger joint turns away from straight, degrees, by the joint's name; empty if there is no hand.

        See `handpose.geometry.articulation.joint_angles`.
        """
        return {} if self.status == "no_hand" else joint_angles(self.xyz, self.layout)

    def fingers(self) -> dict[str, FingerState]:
        """`extended` or `bent` for each finger from thumb to pinky; empty if there is no hand.

        See `handpose.geometry.articulation.finger_states`.
        """
        return {} if self.status == "no_hand" else finger_states(self.xyz, self.layout)

    def to_dict(self) -> dict[str, Any]:
        """The pose as JSON's types; numbers that do not exist are null."""
        return {
            "source": self.source,
            "status": self.status,
            "model": self.model,
            "layout": self.layout.name,
            "hand": self.hand,
            "joints": list(self.layout.joints),
            "xyz_mm": _listed(self.xyz, 2),
            "uvz": _listed(self.uvz, 2),
            "spread_mm": _listed(self.spread, 2),
            "error_mm": _listed(self.error_mm, 2),
            "center_mm": _listed(self.center, 2),
            "cube_mm": self.cube,
            "camera": self.camera.to_dict(),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> HandPose:
        """The pose that `to_dict` wrote (numbers to a hundredth).

        Raises:
            HandPoseError: a field is missing or not what it should be, or it is the record of a frame that failed.
        """
        if isinstance(values, dict) and values.get("status") == "error":
            raise HandPoseError(f"{values.get('source')}: has no pose, since the frame failed: {values.get('reason')}")
        try:
            arrays = {
                name: np.array(values[key], dtype=np.float64)
                for name, key in (
                    *(("xyz", "xyz_mm"), ("uvz", "uvz"), ("spread", "spread_mm")),
                    *(("error_mm", "error_mm"), ("center", "center_mm")),
                )
            }
            return cls(
                **arrays,
                layout=LAYOUTS[values["layout"]],
                status=values["status"],
                hand=values["hand"],
                cube=float(values["cube_mm"]),
                camera=Camera.from_dict(values["camera"]),
                model=values["model"],
                source=values["source"],
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise HandPoseError(f"not a hand pose record: {type(error).__name__} {str(error)[:100]}") from None

    def save(self, path: str | Path) -> None:
        """Writes the record `to_dict` as a JSON file."""
        Path(path).write_text(json.dumps(self.to_dict(), indent=2) + "\n", encoding="utf-8")

    def draw(self, depth: np.ndarray) -> np.ndarray:
        """A picture (H, W, 3) uint8 BGR of the skeleton over the depth image (H, W) mm it was found in.

        Joints that are expected to be more than 20 mm off are hollow.
        """
        near = self.center[2] - self.cube / 2
        return draw_pose(depth, self.uvz, self.layout, near=near, uncertain=self.error_mm > BAD_JOINT)


def _listed(array: np.ndarray, digits: int) -> list[Any]:
    rounded = np.round(array, digits)
    listed: list[Any] = np.where(np.isfinite(rounded), rounded.astype(object), None).tolist()  # type: ignore[call-overload]
    return listed
