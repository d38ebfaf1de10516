"""The joint orders and joint names of other programs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from handpose.errors import HandPoseError
from handpose.geometry.layouts import FINGERS, JointLayout
from handpose.io.choices import JointOrder

_PARTS = dict.fromkeys(FINGERS, ("mcp", "pip", "dip", "tip")) | {"thumb": ("cmc", "mcp", "ip", "tip")}
_ANATOMY = ("wrist", *(f"{finger}_{part}" for finger in FINGERS for part in _PARTS[finger]))


def _mediapipe(joint: str) -> str:
    finger, _, part = joint.partition("_")
    return f"{finger}_finger_{part}" if finger in ("index", "middle", "ring") else joint


def _openxr() -> dict[str, str]:
    joints = {"palm": "", "wrist": "wrist"}
    for finger in FINGERS:
        name = finger.replace("pinky", "little")
        if finger == "thumb":
            parts = ["metacarpal", "proximal", "distal", "tip"]
        else:
            joints[f"{name}_metacarpal"] = ""
            parts = ["proximal", "intermediate", "distal", "tip"]
        for part, anatomy in zip(parts, _PARTS[finger], strict=True):
            joints[f"{name}_{part}"] = f"{finger}_{anatomy}"
    return joints


_ORDERS: dict[str, dict[str, str]] = {
    "mediapipe": {_mediapipe(joint): joint for joint in _ANATOMY},
    "openpose": {joint: joint for joint in _ANATOMY},
    "mano": {
        "wrist": "wrist",
        **{
            f"{finger}{i + 1}": f"{finger}_{_PARTS[finger][i]}"
            for finger in ("index", "middle", "pinky", "ring", "thumb")
            for i in range(3)
        },
        **{f"{finger}_tip": f"{finger}_tip" for finger in FINGERS},
    },
    "openxr": _openxr(),
}
"""By order, the name of each joint and its anatomical name, which is empty for joints that no layout contains."""

# ICVL's joints are the middles of the finger segments, so none of them is a joint of another order. NYU's joints are
# those of its authors' hand model, 2 to 7 mm beyond the anatomical joints.
_LAYOUTS: dict[str, dict[str, str]] = {
    "icvl": {},
    "nyu": {
        **{f"{finger}_tip": f"{finger}_tip" for finger in FINGERS},
        **{f"{finger}_pip": f"{finger}_mid" for finger in FINGERS[1:]},
        "thumb_mcp": "thumb_root",
        "thumb_ip": "thumb_mid",
    },
    "msra": {
        **{joint: joint for joint in _ANATOMY if not joint.startswith("thumb_")},
        "thumb_cmc": "thumb_mcp",
        "thumb_mcp": "thumb_pip",
        "thumb_ip": "thumb_dip",
        "thumb_tip": "thumb_tip",
    },
}
"""By layout, the joint at the location of each anatomical joint."""


class Keypoints(NamedTuple):
    """Joints in the order of another program.

    Attributes:
        xyz: (K, 3) positions in mm or m; NaN for joints that the weights do not predict, and if there is no hand.
        names: The names that the other program uses, in lower case.
        measured: (K,) bool, whether a joint was predicted.
    """

    xyz: np.ndarray
    names: tuple[str, ...]
    measured: np.ndarray


def reorder(xyz: np.ndarray, layout: JointLayout, order: JointOrder | None) -> Keypoints:
    """Return joints `xyz` (J, 3) of a layout in another order, or in their own for None.

    Raises:
        HandPoseError: The order is unknown.
    """
    names, indices = layout.joints, np.arange(len(layout))
    if order is not None:
        if order not in _ORDERS:
            raise HandPoseError(f"the joint order must be one of {', '.join(_ORDERS)}, got {order!r:.40}")
        names, joints = tuple(_ORDERS[order]), _LAYOUTS[layout.name]
        indices = np.array([layout.joints.index(joints[a]) if a in joints else -1 for a in _ORDERS[order].values()])
    reordered = np.where(indices[:, None] >= 0, xyz[indices], np.nan)
    return Keypoints(reordered, names, ~np.isnan(reordered[:, 0]))
