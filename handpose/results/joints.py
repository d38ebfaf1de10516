"""What the joints of a hand determine: keypoints of other programs, the pose of the wrist, and the state of fingers."""

from __future__ import annotations

from typing import Literal

import numpy as np

from handpose.geometry.articulation import FingerState, finger_states, joint_angles
from handpose.geometry.joint_orders import Keypoints
from handpose.geometry.keypoints import convert_joints, wrist_pose
from handpose.geometry.layouts import JointLayout
from handpose.io.choices import Frame, Hand, JointOrder, LengthUnit

Status = Literal["ok", "low_confidence", "no_hand"]


class HandJoints:
    """The joints of a hand, or those of an image without a hand, which are NaN.

    Attributes:
        xyz: (J, 3) mm, camera frame.
        layout: Names and order of the joints.
        status: Whether there is a hand.
        hand: Which hand it is.
    """

    xyz: np.ndarray
    layout: JointLayout
    status: Status
    hand: Hand

    def __getitem__(self, joint: str) -> np.ndarray:
        """Return xyz (3,) of a joint, given its name."""
        return self.xyz[self.layout.index(joint)]  # type: ignore[no-any-return]

    def keypoints(
        self, order: JointOrder | None = None, *, unit: LengthUnit = "mm", frame: Frame = "camera"
    ) -> Keypoints:
        """Return the joints in the order, unit and frame of another program.

        Joints that the weights do not predict, such as the palm and the metacarpals of OpenXR, are NaN.

        Args:
            order: `mediapipe` and `openpose` have 21 joints, `mano` has 21 in the order of smplx, with the fingertips
                last, and `openxr` has 26. By default, the joints of the layout in their own order.
            unit: `mm` or `m`.
            frame: `camera`; `wrist`, the frame of `wrist()`; or `operator`, the frame that dex-retargeting expects.

        Raises:
            HandPoseError: The order, unit or frame is unknown, or the layout does not determine the frame.
        """
        return convert_joints(self.xyz, self.layout, self.hand, order=order, unit=unit, frame=frame)

    def wrist(self, unit: LengthUnit = "mm") -> np.ndarray:
        """Return the pose (4, 4) of the wrist in the camera frame, from the wrist and the knuckles; NaN without a hand.

        It converts points from the frame of the wrist to the camera frame. x points from the wrist to the middle
        knuckle, y to the left of a hand with its palm down, and z out of the back of the hand.

        Raises:
            HandPoseError: The unit is unknown, or the layout does not contain the wrist and the knuckles.
        """
        return wrist_pose(self.xyz, self.layout, self.hand, unit)

    def angles(self) -> dict[str, float]:
        """Return the flexion angle of each finger joint in degrees, by joint name; empty if there is no hand.

        An angle is 0 for straight fingers. At a knuckle, it changes when the finger bends and when it spreads.
        """
        return {} if self.status == "no_hand" else joint_angles(self.xyz, self.layout)

    def fingers(self) -> dict[str, FingerState]:
        """Return `extended` or `bent` for each finger from thumb to pinky; empty if there is no hand."""
        return {} if self.status == "no_hand" else finger_states(self.xyz, self.layout)
