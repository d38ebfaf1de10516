"""What stored numbers mean in millimetres."""

from __future__ import annotations

from typing import Literal

import numpy as np

from handpose.errors import HandPoseError
from handpose.io.warn import warn

DepthUnit = Literal["mm", "m", "nyu"] | float
"""What a stored number means: `mm`, `m`, millimetres per unit, or `nyu` (NYU's colour PNG, depth = G*256 + B)."""


class DepthUnitWarning(UserWarning):
    """The values of a depth image make no sense in the unit they were read with."""


def millimetres_per_unit(unit: DepthUnit) -> float:
    """What one stored unit is, in mm."""
    if unit in ("mm", "nyu"):
        return 1.0
    if unit == "m":
        return 1000.0
    if isinstance(unit, (int, float)) and not isinstance(unit, bool) and 1e-6 <= unit <= 1e6:
        return float(unit)
    raise HandPoseError(f"unit must be mm, m, nyu or a number of millimetres per stored unit, got {unit!r}")


def parse_unit(text: str) -> DepthUnit:
    """Parse `mm`, `m`, `nyu` or a number of millimeters per stored unit.

    Raises:
        HandPoseError: The text is none of these.
    """
    try:
        unit: DepthUnit = float(text)
    except ValueError:
        unit = text  # type: ignore[assignment] # checked below
    millimetres_per_unit(unit)
    return unit


_HAND_RANGE = (80.0, 2500.0)  # mm: where the nearest things of an image with a hand in it may be
_COMMON_UNITS = {"mm": 1.0, "m": 1000.0, "0.125": 0.125, "0.25": 0.25, "0.1": 0.1, "10": 10.0}


def warn_of_unit(depth: np.ndarray, factor: float, name: str, *, integers: bool) -> None:
    """Warns if nothing in `depth` (H, W) mm is where a hand could be, and names the likely unit.

    Args:
        depth: mm.
        factor: the millimetres per unit it was read with.
        name: of the image.
        integers: it was stored as integers, which metres are not.
    """
    sample = depth[::4, ::4]
    readings = sample[sample > 0]
    if len(readings) < 50:
        return
    near = float(np.partition(readings, len(readings) // 50)[len(readings) // 50])  # 2 % are nearer
    if _HAND_RANGE[0] <= near <= _HAND_RANGE[1]:
        return
    likely = [
        text
        for text, other in _COMMON_UNITS.items()
        if 150.0 <= near / factor * other <= 1500.0 and not (integers and text == "m")
    ]
    hint = f"; its unit is likely {likely[0]}" if likely else ""
    warn(
        f"{name}: the nearest surface is at {near:,.0f} mm, where no hand can be measured{hint}",
        DepthUnitWarning,
    )
