"""The joints of each layout as their annotators define them: weighted means of the landmarks of the hand model."""

from __future__ import annotations

import torch
from torch import Tensor

from handpose.geometry.layouts import FINGERS, JointLayout
from handpose.synthetic.skeleton import LANDMARKS

_Mixture = dict[str, float]


def _mixed(near: _Mixture, far: _Mixture, fraction: float) -> _Mixture:
    return {name: near.get(name, 0.0) * (1.0 - fraction) + far.get(name, 0.0) * fraction for name in near | far}


def _between(near: str, far: str, fraction: float) -> _Mixture:
    return _mixed({near: 1.0}, {far: 1.0}, fraction)


# The body model bends the wrist inside the forearm and the fingers at the webs between them; people annotate the
# crease of the wrist, and knuckles inside the palm. Fractions of the distance, measured on annotated real images.
_WRIST = _between("hand", "middle_1", 0.08)
_KNUCKLES = {"index": 0.24, "middle": 0.20, "ring": 0.21, "pinky": 0.24}


def _msra() -> dict[str, _Mixture]:
    joints: dict[str, _Mixture] = {"wrist": _WRIST}
    for finger in FINGERS:
        for part, landmark in zip(("mcp", "pip", "dip", "tip"), ("1", "2", "3", "tip"), strict=True):
            joints[f"{finger}_{part}"] = {f"{finger}_{landmark}": 1.0}
    for finger, fraction in _KNUCKLES.items():
        joints[f"{finger}_mcp"] = _between(f"{finger}_1", f"{finger}_metacarpal", fraction)
    return joints


# ICVL's annotators labeled the middles of the segments. The fractions along them (from the knuckle, or the previous
# landmark) and the palm match the proportions of its public test labels.
_ICVL_SEGMENTS = {
    "thumb": (0.41, 0.54, 0.46),
    "index": (0.49, 0.65, 0.59),
    "middle": (0.46, 0.67, 0.73),
    "ring": (0.29, 0.42, 0.44),
    "pinky": (0.30, 0.39, 0.77),
}
_ICVL_PALM = {
    "hand": 0.368,
    "index_metacarpal": 0.121,
    "pinky_metacarpal": 0.132,
    "index_1": 0.162,
    "ring_1": 0.121,
    "pinky_1": 0.096,
}


def _icvl() -> dict[str, _Mixture]:
    joints = {"palm": _ICVL_PALM}
    for finger, (root, mid, tip) in _ICVL_SEGMENTS.items():
        base = {"thumb_1": 1.0} if finger == "thumb" else _msra()[f"{finger}_mcp"]
        joints[f"{finger}_root"] = _mixed(base, {f"{finger}_2": 1.0}, root)
        joints[f"{finger}_mid"] = _between(f"{finger}_2", f"{finger}_3", mid)
        joints[f"{finger}_tip"] = _between(f"{finger}_3", f"{finger}_tip", tip)
    return joints


# NYU's joints are those of a hand model fitted by its authors; both subjects have the same proportions. The fractions
# of the distance from the middle landmark of a finger to the next one are fitted to these.
_NYU_MIDS = {
    "index": ("index_3", 0.18),
    "middle": ("middle_3", 0.11),
    "ring": ("ring_3", 0.19),
    "pinky": ("pinky_1", 0.11),
}
_NYU_HALF_WRIST = 0.67  # in distances between the metacarpals of index finger and pinky


def _nyu() -> dict[str, _Mixture]:
    knuckles = _between("middle_1", "pinky_1", 0.08)
    side = _mixed({"index_metacarpal": 0.0}, {"index_metacarpal": 1.0, "pinky_metacarpal": -1.0}, _NYU_HALF_WRIST)
    joints = {
        "thumb_tip": {"thumb_tip": 1.0},
        "thumb_mid": _between("thumb_3", "thumb_tip", 0.24),
        "thumb_root": _between("thumb_2", "thumb_3", 0.09),
        "wrist_ulnar": {"hand": 1.0} | {landmark: -weight for landmark, weight in side.items()},
        "wrist_radial": {"hand": 1.0} | side,
        "palm": _mixed({"hand": 1.0}, knuckles, 0.67),
    }
    for finger, (next_landmark, fraction) in _NYU_MIDS.items():
        joints[f"{finger}_tip"] = {f"{finger}_tip": 1.0}
        joints[f"{finger}_mid"] = _between(f"{finger}_2", next_landmark, fraction)
    return joints


_ANNOTATIONS = {"icvl": _icvl, "nyu": _nyu, "msra": _msra}


def joint_weights(layout: JointLayout) -> Tensor:
    """Return weights (J, L) over `LANDMARKS` that define the joints of a layout; each row sums to one."""
    mixtures = _ANNOTATIONS[layout.name]()
    weights = torch.zeros(len(layout), len(LANDMARKS))
    for row, joint in enumerate(layout.joints):
        for landmark, weight in mixtures[joint].items():
            weights[row, LANDMARKS.index(landmark)] += weight
    return weights
