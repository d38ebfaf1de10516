"""The names of lens models in other programs."""

from __future__ import annotations

import re
from typing import Literal

from handpose.geometry.distortion import Distortion, LensModel

_MODELS: dict[str, LensModel | Literal["none"]] = {
    "none": "none",
    **dict.fromkeys(
        ("plumbbob", "rationalpolynomial", "radtan", "radialtangential", "opencv", "pinhole"), "brown_conrady"
    ),
    # RealSense's modified model applies the tangential part a little differently: by less than 0.1 px.
    **dict.fromkeys(("brownconrady", "brownconradyk6", "modifiedbrownconrady"), "brown_conrady"),
    "inversebrownconrady": "inverse_brown_conrady",
    **dict.fromkeys(("equidistant", "equi", "fisheye", "opencvfisheye"), "kannala_brandt"),
    **dict.fromkeys(("kannalabrandt", "kannalabrandt4"), "kannala_brandt"),
}
_ROS: dict[LensModel, str] = {
    "brown_conrady": "rational_polynomial",
    "inverse_brown_conrady": "inverse_brown_conrady",  # unknown to ROS
    "kannala_brandt": "equidistant",
}


def lens_model(name: str) -> LensModel | Literal["none"] | None:
    """Return the lens model that ROS, OpenCV, Kalibr or an SDK calls `name`, or None if the name is unknown.

    `none` is the model of a lens without distortion.
    """
    key = re.sub("[^a-z0-9]", "", name.lower().rpartition(".")[2])
    return _MODELS.get(key.removeprefix("rs2distortion").removeprefix("distortion"))


def ros_name(lens: Distortion) -> str:
    """Return the name of a lens model in ROS, which has a separate name for up to 5 coefficients of OpenCV's model."""
    return "plumb_bob" if lens.model == "brown_conrady" and len(lens.coefficients) <= 5 else _ROS[lens.model]
