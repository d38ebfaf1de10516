"""The ranges of motion of the joints of a hand."""

from __future__ import annotations

import torch
from torch import Tensor

from handpose.synthetic.skeleton import BONE_INDEX, BONES, FINGER_NAMES

_LONG_FINGERS = FINGER_NAMES[1:]

# Degrees, human ranges of motion: flexion, abduction, twist. Bones that are not named do not move.
_LIMITS: dict[str, tuple[tuple[float, float], ...]] = {
    "forearm": ((-65.0, 65.0), (-25.0, 30.0), (-30.0, 30.0)),
    "index_metacarpal": ((-2.0, 3.0), (0.0, 0.0), (0.0, 0.0)),
    "ring_metacarpal": ((-3.0, 10.0), (0.0, 0.0), (0.0, 0.0)),
    "pinky_metacarpal": ((-4.0, 18.0), (0.0, 0.0), (0.0, 0.0)),
    "thumb_1": ((-30.0, 40.0), (-35.0, 30.0), (-25.0, 45.0)),
    "thumb_2": ((-15.0, 65.0), (-8.0, 8.0), (0.0, 0.0)),
    "thumb_3": ((-25.0, 85.0), (0.0, 0.0), (0.0, 0.0)),
    **{f"{finger}_1": ((-28.0, 92.0), (-18.0, 18.0), (-6.0, 6.0)) for finger in _LONG_FINGERS},
    **{f"{finger}_2": ((-6.0, 108.0), (0.0, 0.0), (0.0, 0.0)) for finger in _LONG_FINGERS},
    **{f"{finger}_3": ((-12.0, 80.0), (0.0, 0.0), (0.0, 0.0)) for finger in _LONG_FINGERS},
}

# Degrees, for fingers that close, cross, or reach across the palm.
_WIDE_LIMITS = _LIMITS | {
    "thumb_1": ((-35.0, 58.0), (-40.0, 42.0), (-35.0, 60.0)),
    "thumb_2": ((-15.0, 75.0), (-10.0, 10.0), (0.0, 0.0)),
    "thumb_3": ((-25.0, 90.0), (0.0, 0.0), (0.0, 0.0)),
    "index_1": ((-28.0, 95.0), (-20.0, 34.0), (-8.0, 8.0)),
    "middle_1": ((-28.0, 95.0), (-20.0, 20.0), (-8.0, 8.0)),
    "ring_1": ((-28.0, 95.0), (-26.0, 20.0), (-8.0, 8.0)),
    "pinky_1": ((-28.0, 95.0), (-46.0, 22.0), (-10.0, 10.0)),
    **{f"{finger}_2": ((-6.0, 112.0), (0.0, 0.0), (0.0, 0.0)) for finger in _LONG_FINGERS},
    **{f"{finger}_3": ((-12.0, 88.0), (0.0, 0.0), (0.0, 0.0)) for finger in _LONG_FINGERS},
}


def limits(*, wide: bool) -> tuple[Tensor, Tensor]:
    """Return the lowest and highest angles (B, 3) in degrees; `wide` allows fingers to close and cross."""
    bounds = torch.zeros(2, len(BONES), 3)
    for bone, ranges in (_WIDE_LIMITS if wide else _LIMITS).items():
        bounds[:, BONE_INDEX[bone]] = torch.tensor(ranges).T
    return bounds[0], bounds[1]
