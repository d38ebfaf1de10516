"""The doctor: what is wrong with a depth image, its camera or its unit, before anyone blames the joints."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from handpose.errors import HandPoseError
from handpose.geometry.bones import bone_deviation
from handpose.geometry.camera import Camera
from handpose.inference.estimator import HandPoseEstimator
from handpose.inference.query import AssumedCameraWarning
from handpose.io.depth.read import read_depth
from handpose.io.depth.units import DepthUnit, DepthUnitWarning
from handpose.network.calibration import BAD_JOINT, Calibration
from handpose.results.pose import Hand, HandPose

Verdict = Literal["ok", "warn", "fail"]

TRAINED_FOR = (150.0, 1200.0)
"""Distances of the rendered hands that the built-in weights were trained on, mm."""

_OTHER_UNITS: tuple[DepthUnit, ...] = ("mm", "m", 0.125, 0.25, 0.1, 10.0)
_MOST_MISSING = 0.95  # of the image: a hand cut out of its background still leaves more
_MOST_HOLES = 0.2  # of the pixels along the hand's bones
_HAND_SIZE = (0.7, 1.35)  # of the usual hand's
_MOST_DEVIATION = 0.9  # a bone 2.5 times as long or short: one in a hundred good poses has such a one
_OTHER_HAND = 0.85  # of the expected error, below which the other hand is the better explanation
_VIEW = (25.0, 120.0)  # degrees from side to side that depth cameras see
_OFF_MIDDLE = 0.2  # of the image's width, from its middle to the principal point


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes:
        name: of what was looked at.
        verdict: `fail` where joints cannot be right, `warn` where they may be wrong.
        message: what was found and, unless it is ok, what to do.
    """

    name: str
    verdict: Verdict
    message: str


def check_frame(
    path: Path,
    estimator: HandPoseEstimator,
    *,
    camera: Camera | None = None,
    unit: DepthUnit = "mm",
    hand: Hand = "right",
) -> list[Finding]:
    """What was found in a depth file, in the order of what depends on what; it ends where nothing more can be told.

    Args:
        path: the depth file.
        estimator: finds the hand.
        camera: as in `HandPoseEstimator.predict`, like `unit` and `hand`.
        unit: see `camera`.
        hand: see `camera`.
    """
    return list(_findings(path, estimator, camera, unit, hand))


def _findings(
    path: Path, estimator: HandPoseEstimator, camera: Camera | None, unit: DepthUnit, hand: Hand
) -> Iterator[Finding]:
    with warnings.catch_warnings():
        # What these warn of is looked at here, and more closely.
        warnings.simplefilter("ignore", DepthUnitWarning)
        warnings.simplefilter("ignore", AssumedCameraWarning)
        try:
            depth = read_depth(path, unit)
        except HandPoseError as error:
            yield Finding("file", "fail", str(error))
            return
        height, width = depth.shape
        yield Finding("file", "ok", f"{width} x {height} px")
        try:
            pose = estimator.predict(depth, camera=camera, hand=hand)
        except HandPoseError as error:
            yield Finding("camera", "fail", str(error))
            return
        yield _camera(camera, pose.camera)
        yield from _readings(depth)
        yield _unit(path, unit, estimator, camera, hand, pose)
        yield _place(pose)
        if pose.status != "no_hand":
            yield _holes(depth, pose)
            yield from _doubt(pose)
            calibration = estimator.config.calibration
            if calibration is not None:
                yield _bones(pose, calibration)
                other: Hand = "left" if hand == "right" else "right"
                yield _side(pose, estimator.predict(depth, camera=camera, center=pose.center, hand=other))


def _camera(given: Camera | None, camera: Camera) -> Finding:
    """Whether intrinsics are those of a depth camera with such an image."""
    if given is None:
        return Finding("camera", "warn", "none given, so distances across the image are guessed; give --camera")
    view = math.degrees(2 * math.atan(camera.width / 2 / camera.fx))
    off = max(abs(camera.cx / camera.width - 0.5), abs(camera.cy / camera.height - 0.5))
    what = f"{view:.0f} degrees wide, centred at {camera.cx:.0f}, {camera.cy:.0f}"
    if not _VIEW[0] <= view <= _VIEW[1]:
        return Finding("camera", "warn", f"{what}: no usual view; are fx and fy in pixels of this very stream?")
    if off > _OFF_MIDDLE:
        return Finding("camera", "warn", f"{what}: far from the image's middle; are cx and cy of this very stream?")
    if not 0.9 < camera.fx / camera.fy < 1.1:
        return Finding("camera", "warn", f"fx {camera.fx:g} and fy {camera.fy:g} differ; pixels are usually square")
    if not given.width:
        return Finding("camera", "ok", f"{what}; it does not say for which image size")
    return Finding("camera", "ok", what)


def _readings(depth: np.ndarray) -> Iterator[Finding]:
    """How much of the image is known, and how far away it is."""
    seen = depth[depth > 0]
    missing = 1.0 - seen.size / depth.size
    what = f"{missing:.0%} of the pixels have no reading"
    if missing > _MOST_MISSING:
        yield Finding("missing", "warn", f"{what}; is the scene in the sensor's range, and nothing before the lens?")
    else:
        yield Finding("missing", "ok", what)
    if not seen.size:
        yield Finding("range", "fail", "no reading at all; check the sensor and how its image was saved")
        return
    near, far = np.percentile(seen, (1, 99))
    what = f"from {near:.0f} to {far:.0f} mm"
    if near > TRAINED_FOR[1] or far < TRAINED_FOR[0]:
        yield Finding("range", "fail", f"{what}, nothing where a hand is looked for ({_trained()}); check --unit")
    else:
        yield Finding("range", "ok", what)


def _unit(
    path: Path, unit: DepthUnit, estimator: HandPoseEstimator, camera: Camera | None, hand: Hand, pose: HandPose
) -> Finding:
    """Whether the unit shows a hand, or if it does not, another unit would."""
    if pose.status != "ok" and unit != "nyu":
        tried = {other: estimator.predict(path, camera=camera, unit=other, hand=hand) for other in _OTHER_UNITS}
        hands = [other for other, seen in tried.items() if seen.status == "ok" and _trained_for(seen)]
        if hands:
            least = min(tried[other].error_mm.mean() for other in hands)
            # Hands of all sizes look alike: units that are not much worse may be it; the user knows the distance.
            likely = [other for other in hands if tried[other].error_mm.mean() <= 1.5 * least]
            places = ", ".join(f"with --unit {other} at {tried[other].center[2]:.0f} mm" for other in likely)
            there = f"there would be a hand {places}"
            return Finding("unit", "fail" if pose.status == "no_hand" else "warn", f"read as {unit}; {there}")
    return Finding("unit", "ok", f"read as {unit}")


def _place(pose: HandPose) -> Finding:
    """Where the hand is."""
    if pose.status == "no_hand":
        return Finding("hand", "fail", "not found; show a whole hand, or say where it is with --center or --box")
    u, v, z = pose.camera.project(pose.center)
    what = f"at pixel {u:.0f}, {v:.0f}, {z:.0f} mm away"
    if not _trained_for(pose):
        return Finding("hand", "warn", f"{what}; the weights were trained for {_trained()}")
    inside = ((pose.uvz[:, :2] >= 0) & (pose.uvz[:, :2] < (pose.camera.width, pose.camera.height))).all()
    if not inside:
        return Finding("hand", "warn", f"{what}, cut by the image's border; move it to the middle")
    return Finding("hand", "ok", what)


def _holes(depth: np.ndarray, pose: HandPose) -> Finding:
    """How much of the hand itself has no reading: along the bones, since they lie within it."""
    ends = pose.uvz[np.array(pose.layout.bones), :2]  # (B, 2, 2)
    along = np.linspace(0.0, 1.0, 20)[:, None, None]
    u, v = (ends[:, 0] * (1 - along) + ends[:, 1] * along).reshape(-1, 2).round().astype(int).T
    inside = (u >= 0) & (u < depth.shape[1]) & (v >= 0) & (v < depth.shape[0])
    holes = float((depth[v[inside], u[inside]] == 0).mean()) if inside.any() else 1.0
    what = f"{holes:.0%} of the pixels along its bones have no reading"
    if holes > _MOST_HOLES:
        return Finding("holes", "warn", f"{what}; move it away from the sensor's limits, and shiny things off it")
    return Finding("holes", "ok", what)


def _doubt(pose: HandPose) -> Iterator[Finding]:
    """What the network's own doubt says."""
    if np.isnan(pose.error_mm).any():
        yield Finding("error", "warn", "these weights are not calibrated; run handpose calibrate on their folder")
        return
    bad = [joint for joint, error in zip(pose.layout.joints, pose.error_mm, strict=True) if error > BAD_JOINT]
    what = f"{pose.error_mm.mean():.0f} mm expected for a joint"
    if pose.status == "low_confidence":
        yield Finding("error", "warn", f"{what}: hardly a hand as the weights know it; look at it with --draw")
    elif bad:
        yield Finding("error", "warn", f"{what}, above {BAD_JOINT:.0f} for {', '.join(bad)}")
    else:
        yield Finding("error", "ok", what)


def _bones(pose: HandPose, calibration: Calibration) -> Finding:
    """Whether the skeleton can be a person's."""
    size, deviation = bone_deviation(pose.xyz, calibration.bones_mm, pose.layout)
    worst = int(deviation.argmax())
    factor = math.exp(deviation[worst])
    child = pose.layout.joints[pose.layout.bones[worst][1]]
    what = f"{float(size):.2f} times the usual hand's length, the bone to {child} off that by a factor of {factor:.1f}"
    if not _HAND_SIZE[0] <= size <= _HAND_SIZE[1]:
        return Finding("bones", "warn", f"{what}; check --unit and the camera's fx and fy")
    if deviation[worst] > _MOST_DEVIATION:
        return Finding("bones", "warn", f"{what}; nobody's hand, so some joints are wrong")
    return Finding("bones", "ok", what)


def _side(pose: HandPose, other: HandPose) -> Finding:
    """Whether it looks more like the other hand."""
    if other.error_mm.mean() < _OTHER_HAND * pose.error_mm.mean():
        return Finding("side", "warn", f"looks more like a {other.hand} hand than a {pose.hand} one; see --hand")
    return Finding("side", "ok", f"a {pose.hand} hand, as said")


def _trained_for(pose: HandPose) -> bool:
    return TRAINED_FOR[0] <= pose.center[2] <= TRAINED_FOR[1]  # type: ignore[no-any-return]


def _trained() -> str:
    return f"{TRAINED_FOR[0]:.0f} to {TRAINED_FOR[1]:.0f} mm"
