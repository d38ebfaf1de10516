"""What fingers do: the angles of a skeleton's joints, and which fingers are extended."""

from __future__ import annotations

import itertools
from typing import Literal

import numpy as np

from handpose.geometry.layouts import JointLayout

FingerState = Literal["extended", "bent"]

_BENT = 60.0  # degrees that a finger's joints turn in all
_BENT_THUMB = 120.0  # a straight thumb stands some 60 degrees off the bone it leaves the palm from


def joint_angles(xyz: np.ndarray, layout: JointLayout) -> dict[str, float]:
    """How far each finger joint turns away from straight, in degrees: 0 to 180, by the joint's name.

    It is the angle between the bone that ends in the joint and the one that begins there. At a knuckle the first is
    the palm's, so that spreading the fingers counts as well as bending them. Tips turn nothing and are left out.

    Args:
        xyz: (J, 3) joints in any unit, frame and handedness.
        layout: of the joints.
    """
    angles = {}
    for joints in layout.fingers.values():
        for joint, child in itertools.pairwise(joints):
            before, after = xyz[joint] - xyz[layout.parents[joint]], xyz[child] - xyz[joint]
            # Unlike the arc cosine of their product this is exact for bones that are nearly in line.
            turn = np.arctan2(np.linalg.norm(np.cross(before, after)), before @ after)
            angles[layout.joints[joint]] = float(np.degrees(turn))
    return angles


def finger_states(xyz: np.ndarray, layout: JointLayout) -> dict[str, FingerState]:
    """Each finger, `bent` where its joints turn more than 60 degrees in all (a thumb's 120), else `extended`.

    Arguments as in `joint_angles`.
    """
    angles = joint_angles(xyz, layout)
    states: dict[str, FingerState] = {}
    for finger, joints in layout.fingers.items():
        turn = sum(angles[layout.joints[joint]] for joint in joints[:-1])
        states[finger] = "bent" if turn > (_BENT_THUMB if finger == "thumb" else _BENT) else "extended"
    return states
