"""Joint angles, and which fingers are extended."""

from __future__ import annotations

import itertools
from typing import Literal

import numpy as np

from handpose.geometry.layouts import JointLayout

FingerState = Literal["extended", "bent"]

_BENT = 60.0  # degrees, sum of the angles of a finger's joints
_BENT_THUMB = 120.0  # even a straight thumb forms an angle of about 60 degrees with the bone of its palm joint


def joint_angles(xyz: np.ndarray, layout: JointLayout) -> dict[str, float]:
    """Return the flexion angle of each finger joint in degrees: 0 (straight) to 180, by joint name.

    It is the angle between the bone that ends in the joint and the bone that starts there. At a knuckle, the first one
    is a bone of the palm, so both spreading and bending the finger change the angle. Fingertips have no angle.

    Args:
        xyz: (J, 3) joints in any unit and frame, of a left or right hand.
        layout: Layout of the joints.
    """
    angles = {}
    for joints in layout.fingers.values():
        for joint, child in itertools.pairwise(joints):
            before, after = xyz[joint] - xyz[layout.parents[joint]], xyz[child] - xyz[joint]
            # Unlike the arc cosine of the dot product, this is accurate for nearly parallel bones.
            angle = np.arctan2(np.linalg.norm(np.cross(before, after)), before @ after)
            angles[layout.joints[joint]] = float(np.degrees(angle))
    return angles


def finger_states(xyz: np.ndarray, layout: JointLayout) -> dict[str, FingerState]:
    """Return the state of each finger: `bent` if the sum of its joint angles exceeds 60 degrees (thumb: 120 degrees).

    The arguments are those of `joint_angles`.
    """
    angles = joint_angles(xyz, layout)
    states: dict[str, FingerState] = {}
    for finger, joints in layout.fingers.items():
        total = sum(angles[layout.joints[joint]] for joint in joints[:-1])
        states[finger] = "bent" if total > (_BENT_THUMB if finger == "thumb" else _BENT) else "extended"
    return states
