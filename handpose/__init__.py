"""3D hand joints from a single depth image."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from handpose.version import __version__ as __version__

if TYPE_CHECKING:
    from handpose.errors import DepthReadError, HandPoseError, WeightsError
    from handpose.geometry.camera import CAMERAS, Camera
    from handpose.geometry.crop import HandCrop
    from handpose.geometry.layouts import ICVL16, LAYOUTS, MSRA21, NYU14, JointLayout
    from handpose.inference.estimator import HandPoseEstimator
    from handpose.inference.query import AssumedCameraWarning, Query
    from handpose.inference.tracker import HandTracker, OneEuro, TrackedHand
    from handpose.io.depth.read import read_depth
    from handpose.io.depth.units import DepthUnitWarning
    from handpose.localization.centers import read_centers
    from handpose.localization.localizer import localize_hands
    from handpose.results.pose import HandPose
    from handpose.weights.registry import WEIGHTS

_HOMES = {
    "AssumedCameraWarning": "inference.query",
    "CAMERAS": "geometry.camera",
    "Camera": "geometry.camera",
    "DepthReadError": "errors",
    "DepthUnitWarning": "io.depth.units",
    "HandCrop": "geometry.crop",
    "HandPose": "results.pose",
    "HandPoseError": "errors",
    "HandPoseEstimator": "inference.estimator",
    "HandTracker": "inference.tracker",
    "ICVL16": "geometry.layouts",
    "JointLayout": "geometry.layouts",
    "LAYOUTS": "geometry.layouts",
    "MSRA21": "geometry.layouts",
    "NYU14": "geometry.layouts",
    "OneEuro": "inference.tracker",
    "Query": "inference.query",
    "TrackedHand": "inference.tracker",
    "WEIGHTS": "weights.registry",
    "WeightsError": "errors",
    "localize_hands": "localization.localizer",
    "read_centers": "localization.centers",
    "read_depth": "io.depth.read",
}

__all__ = [*_HOMES]  # noqa: PLE0604


def __getattr__(name: str) -> object:
    # Names load when they are first used, so that `import handpose` costs nothing.
    if name not in _HOMES:
        raise AttributeError(f"module 'handpose' has no attribute {name!r}")
    return getattr(importlib.import_module(f"handpose.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
