"""Where each data set's annotators put their joints, as mixtures of the hand's landmarks."""

from __future__ import annotations

import torch
from torch import Tensor

from handpose.errors import HandPoseError
from handpose.layouts import FINGERS, JointLayout
from handpose.synthetic.hand import LANDMARKS

_Mixture = dict[str, float]


def _between(near: str, far: str, place: float) -> _Mixture:
    return {near: 1.0 - place, far: place}


# The body model bends its wrist in the forearm and its fingers at the webs; people mark the crease of the
# wrist, and knuckles inside the palm. Shares of the way, measured on hand-labelled real depth images.
_WRIST = _between("hand", "middle_1", 0.08)
_KNUCKLES = {"index": 0.24, "middle": 0.20, "ring": 0.21, "pinky": 0.24}


def _msra() -> dict[str, _Mixture]:
    joints: dict[str, _Mixture] = {"wrist": _WRIST}
    for finger in FINGERS:
        for part, landmark in zip(("mcp", "pip", "dip", "tip"), ("1", "2", "3", "tip"), strict=True):
            joints[f"{finger}_{part}"] = {f"{finger}_{landmark}": 1.0}
    for finger, place in _KNUCKLES.items():
        joints[f"{finger}_mcp"] = _between(f"{finger}_1", f"{finger}_metacarpal", place)
    return joints


_ANNOTATIONS = {"msra": _msra}


def joint_weights(layout: JointLayout) -> Tensor:
    """(J, L) weights over `LANDMARKS`, each row summing to one, that give the layout's joints.

    Raises:
        HandPoseError: nobody has said yet where this layout's joints lie.
    """
    if layout.name not in _ANNOTATIONS:
        raise HandPoseError(f"rendered hands have joints for {', '.join(_ANNOTATIONS)} only, not for {layout.name}")
    mixtures = _ANNOTATIONS[layout.name]()
    weights = torch.zeros(len(layout), len(LANDMARKS))
    for row, joint in enumerate(layout.joints):
        for landmark, weight in mixtures[joint].items():
            weights[row, LANDMARKS.index(landmark)] += weight
    return weights
