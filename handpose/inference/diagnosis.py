"""Diagnoses what is wrong with a depth image, its camera or its unit."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from handpose.errors import HandPoseError
from handpose.geometry.bones import along_bones, bone_deviation
from handpose.geometry.camera import Camera
from handpose.inference.alternatives import (
    OtherFocalLength,
    OtherUnit,
    Predict,
    disparity_error,
    other_focal_lengths,
    other_units,
)
from handpose.inference.candidates import Candidates
from handpose.inference.check_border import share_at_border
from handpose.inference.check_camera import camera_warnings, field_of_view
from handpose.inference.check_image import (
    DISPARITY,
    INTERPOLATED,
    both_hands_of,
    is_interpolated,
    more_likely_hand,
    two_digits,
)
from handpose.inference.check_pose import SUPPORTED, fitting_unit, is_supported
from handpose.inference.estimator import HandPoseEstimator
from handpose.inference.query import Query
from handpose.inference.sides import has_doubtful_side
from handpose.io.choices import Hand
from handpose.io.depth.units import coding_problem
from handpose.io.warn import InputWarning
from handpose.network.calibration import BAD_JOINT, Calibration
from handpose.network.config import TRAINED_RANGE
from handpose.recordings.single import read_frame
from handpose.results.pose import HandPose

Verdict = Literal["ok", "note", "warn", "fail"]

_MAX_MISSING = 0.95  # of the image: even a hand without a background covers more than the rest
_MAX_HOLES = 0.2  # of the pixels along the bones of the hand
_FOCAL_RATIOS = (0.45, 0.55, 0.65, 0.8, 1.25, 1.4, 1.6, 1.8, 2.0, 2.3)  # of other focal lengths to the given one
# Relative to the average hand; 0.97 to 1.08 in 19 real images of known focal length.
_USUAL_SIZE = (0.88, 1.12)
_HAND_SIZE = (0.83, 1.16)
_CLEARER = 0.9  # ratio of the expected errors of two explanations
_MAX_DEVIATION = 0.9  # log of a factor of 2.5: one in a hundred good poses has such a bone


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        name: Name of the check.
        verdict: `fail` if the joints cannot be correct, `warn` if they may be wrong, `note` if the image is unusual.
        message: The finding and, unless it is `ok`, how to fix it.
    """

    name: str
    verdict: Verdict
    message: str


def check_frame(
    path: str | Path, estimator: HandPoseEstimator, query: Query, *, topic: str | None = None
) -> list[Finding]:
    """Check a depth file, and stop when the remaining checks depend on one that failed.

    Args:
        path: The depth file, or one of several frames in a file or a recording: the file name, `#` and the number of
            the frame, from 0. Without a number, the first one is checked.
        estimator: Predicts the pose.
        query: What is known about the image; recordings contain their camera and their unit.
        topic: Topic of the depth images, if a ROS bag contains several.
    """
    with warnings.catch_warnings():
        # The checks report the same problems in more detail.
        warnings.simplefilter("ignore", InputWarning)
        return list(_findings(Path(path), estimator, query, topic))


def _findings(path: Path, estimator: HandPoseEstimator, query: Query, topic: str | None) -> Iterator[Finding]:
    try:
        depth, camera, unit, note = read_frame(path, camera=query.camera, unit=query.unit, topic=topic)
    except HandPoseError as error:
        yield Finding("file", "fail", str(error))
        return
    query = replace(query, camera=camera, unit=unit)
    height, width = depth.shape
    yield Finding("file", "ok", f"{width} x {height} px" + (f", {note}" if note else ""))
    try:
        (pose,) = estimator.poses([estimator.find(depth, query)])
    except HandPoseError as error:
        yield Finding("camera", "fail", str(error))
        return
    yield _check_camera(query.camera, pose.camera)
    yield from _check_depth(depth)
    if not depth.any():
        return
    calibration, predict = estimator.config.calibration, estimator.predict_unchecked
    focal = None if calibration is None else _likely_focal_length(depth, query, pose, calibration, predict)
    units = other_units(depth, query, predict) if pose.status != "ok" or focal is not None else []
    if units and focal is not None:  # the more likely explanation is reported; wrong units are more common
        fits = calibration is not None and fitting_unit(pose.depth_unit, _size(pose, calibration))
        if not fits and focal.error < _CLEARER * min(unit.error for unit in units):
            units = []
        else:
            focal = None
    yield _check_unit(depth, query, units, pose)
    if coding_problem(depth, query.unit):
        return
    values = _check_values(depth, query, estimator, pose, [*units, *([focal] if focal else [])])
    yield values
    if values.verdict == "fail":
        return
    is_explained = bool(units) or values.verdict != "ok"
    if calibration is not None and (focal is not None or (pose.status == "ok" and not is_explained)):
        yield _check_focal_lengths(pose, focal, calibration)
    yield _check_location(pose, depth)
    if pose.status == "no_hand":
        return
    if not pose.reason:
        yield _check_holes(depth, pose)
    yield from _check_error(pose)
    if calibration is not None and focal is None and not is_explained:
        yield from _check_bones(pose, calibration)
        yield from _check_side(depth, query, estimator, pose)


def _check_camera(given: Camera | None, camera: Camera) -> Finding:
    """Check whether the intrinsics are plausible for a depth camera."""
    if given is None:
        return Finding("camera", "warn", "none given, so distances across the image are approximate; pass `camera=...`")
    if implausible := camera_warnings(given, camera):
        return Finding("camera", "warn", ". ".join(warning.message for warning in implausible))
    summary = f"field of view {field_of_view(camera):.0f} degrees, principal point {camera.cx:.0f}, {camera.cy:.0f}"
    if not given.width:
        return Finding("camera", "ok", f"{summary}; given without an image size")
    return Finding("camera", "ok", summary)


def _check_depth(depth: np.ndarray) -> Iterator[Finding]:
    """Check how many pixels have a depth value, and in which range these lie."""
    values = depth[depth > 0]
    if not values.size:
        yield Finding("missing", "fail", "no pixel has a depth value; check the sensor and how its image was saved")
        return
    missing = 1.0 - values.size / depth.size
    summary = f"{missing:.0%} of the pixels have no depth value"
    if missing > _MAX_MISSING:
        yield Finding("missing", "warn", f"{summary}; check that the scene is within the sensor's range")
    else:
        yield Finding("missing", "ok", summary)
    near, far = np.percentile(values, (1, 99))
    summary = f"{near:.0f} to {far:.0f} mm"
    if near > TRAINED_RANGE[1] or far < TRAINED_RANGE[0]:
        yield Finding("range", "fail", f"{summary}, nothing within the supported range ({SUPPORTED}); check `unit=...`")
    else:
        yield Finding("range", "ok", summary)


def _check_unit(depth: np.ndarray, query: Query, likely: Sequence[OtherUnit], pose: HandPose) -> Finding:
    """Check whether other units would show a hand."""
    if problem := coding_problem(depth, query.unit):
        return Finding("unit", "fail", f"read as {query.unit}; {problem}")
    if not likely:
        return Finding(
            "unit", "ok", f"read as {query.unit}; only the size of the hand could tell it from similar units"
        )
    # Hands of all sizes look alike: the user must choose among units with similar errors by the distance.
    texts = [f"`unit={one.unit}` at {one.distance:.0f} mm" for one in likely]
    verdict: Verdict = "fail" if pose.status == "no_hand" else "warn"
    return Finding("unit", verdict, f"read as {query.unit}; a hand would be found with {' or with '.join(texts)}")


def _check_values(
    depth: np.ndarray,
    query: Query,
    estimator: HandPoseEstimator,
    pose: HandPose,
    others: Sequence[OtherUnit | OtherFocalLength],
) -> Finding:
    """Check whether the values are measured depth, and not better explained by another unit or focal length."""
    if is_interpolated(depth):
        return Finding("values", "warn", INTERPOLATED.message)
    error = disparity_error(depth, query, pose, estimator.predict_unchecked)
    if error is not None and not any(other.error < error for other in others):
        return Finding("values", "fail", DISPARITY.message)
    return Finding("values", "ok", "look like measured depth")


def _likely_focal_length(
    depth: np.ndarray, query: Query, pose: HandPose, calibration: Calibration, predict: Predict
) -> OtherFocalLength | None:
    """Return the focal length with which the image shows a much clearer hand, or None."""
    others = other_focal_lengths(depth, query, pose.camera, calibration, predict, _FOCAL_RATIOS)
    return others[0] if others and others[0].is_likely(pose) else None


def _check_focal_lengths(pose: HandPose, other: OtherFocalLength | None, calibration: Calibration) -> Finding:
    """Check whether other focal lengths would show a clearer hand."""
    given = f"fx {pose.camera.fx:.0f} and fy {pose.camera.fy:.0f}"
    if other is not None:
        unclear = "no hand is found" if pose.status == "no_hand" else f"expected error {pose.error_mm.mean():.0f} mm"
        return Finding(
            "focal",
            "warn",
            f"{given}: {unclear}, but {other.error:.0f} mm with about {two_digits(other.likely_fx)}; check the "
            "camera's fx and fy",
        )
    size = _size(pose, calibration)
    likely = two_digits(pose.camera.fx * size)
    if _USUAL_SIZE[0] <= size <= _USUAL_SIZE[1]:
        summary = f"{given} are plausible, but not verified: a hand of average size suggests about {likely}"
        return Finding("focal", "ok", summary)
    summary = f"{given}: the hand is {size:.2f} times as large as an average one, which suggests about {likely}"
    child = ", unless it is the hand of a child" if size < 1 else ""
    verdict: Verdict = "note" if _HAND_SIZE[0] <= size <= _HAND_SIZE[1] else "warn"
    unit = fitting_unit(pose.depth_unit, size)
    return Finding("focal", verdict, f"{summary}; check the camera's fx and fy, and the unit{unit}{child}")


def _size(pose: HandPose, calibration: Calibration) -> float:
    """Return the size of a hand relative to an average one; NaN without a hand."""
    return float(bone_deviation(pose.xyz, calibration.bones_mm, pose.layout)[0])


def _check_location(pose: HandPose, depth: np.ndarray) -> Finding:
    """Check whether the hand was localized, at a supported distance and within the image."""
    if pose.status == "no_hand":
        advice = "show the whole hand, or predict it with `center=...` or `box=...`"
        return Finding("hand", "fail", f"not found: {pose.reason}; {advice}")
    u, v, z = pose.camera.project(pose.center)
    summary = f"at pixel {u:.0f}, {v:.0f}, {z:.0f} mm away"
    if pose.reason:
        return Finding("hand", "fail", f"{summary}; {pose.reason}")
    if not is_supported(pose):
        return Finding("hand", "warn", f"{summary}; the weights were trained for {SUPPORTED}")
    if share_at_border(pose, depth):
        return Finding("hand", "warn", f"{summary}, cut off by the image border; move it toward the image center")
    return Finding("hand", "ok", summary)


def _check_holes(depth: np.ndarray, pose: HandPose) -> Finding:
    """Check how much of the hand has no depth value, sampled along the bones because these lie within the hand."""
    u, v = along_bones(pose.uvz[:, :2], pose.layout, 20).reshape(-1, 2).round().astype(int).T
    inside = (u >= 0) & (u < depth.shape[1]) & (v >= 0) & (v < depth.shape[0])
    holes = float((depth[v[inside], u[inside]] == 0).mean()) if inside.any() else 1.0
    summary = f"{holes:.0%} of the pixels along its bones have no depth value"
    if holes > _MAX_HOLES:
        return Finding("holes", "warn", f"{summary}; move it well within the sensor's range, without shiny objects")
    return Finding("holes", "ok", summary)


def _check_error(pose: HandPose) -> Iterator[Finding]:
    """Check the expected errors of the joints."""
    if np.isnan(pose.error_mm).any():
        yield Finding("error", "warn", "these weights are not calibrated; run handpose calibrate on their folder")
        return
    bad = [joint for joint, error in zip(pose.layout.joints, pose.error_mm, strict=True) if error > BAD_JOINT]
    summary = f"mean expected error {pose.error_mm.mean():.0f} mm"
    if pose.status == "low_confidence":
        advice = "inspect the picture that handpose predict --draw writes"
        yield Finding("error", "warn", f"{summary}: perhaps not a hand, or a wrong pose; {advice}")
    elif bad:
        yield Finding("error", "warn", f"{summary}, above {BAD_JOINT:.0f} mm for {', '.join(bad)}")
    else:
        yield Finding("error", "ok", summary)


def _check_bones(pose: HandPose, calibration: Calibration) -> Iterator[Finding]:
    """Check whether the skeleton is anatomically plausible; that of a doubtful pose says nothing about the hand."""
    if pose.status != "ok":
        return
    size, deviation = bone_deviation(pose.xyz, calibration.bones_mm, pose.layout)
    worst = int(deviation.argmax())
    factor = math.exp(deviation[worst])
    child = pose.layout.joints[pose.layout.bones[worst][1]]
    summary = f"{float(size):.2f} times the average hand size, bone to {child} off by a factor of {factor:.1f}"
    if deviation[worst] > _MAX_DEVIATION:
        yield Finding("bones", "warn", f"{summary}; anatomically implausible, so some joints are wrong")
    else:
        yield Finding("bones", "ok", summary)


def _check_side(depth: np.ndarray, query: Query, estimator: HandPoseEstimator, pose: HandPose) -> Iterator[Finding]:
    """Check whether a predicted side is certain, or whether the image looks more like the other hand than the given.

    A doubtful pose has no side, unless the other hand explains it.
    """
    if query.hand == "auto":
        if has_doubtful_side(pose) and pose.status == "ok":
            other_hand: Hand = "left" if pose.hand == "right" else "right"
            yield Finding("side", "warn", f"may be a {other_hand} hand; pass `hand=...` if you know it")
        elif pose.status == "ok":
            yield Finding("side", "ok", f"a {pose.hand} hand")
        return
    image = both_hands_of(pose, Candidates(query, pose.camera, depth=depth))
    other = more_likely_hand(pose, *estimator.poses_per_crop([image]))
    if other is not None:
        text = f"looks more like a {other.hand} hand than a {pose.hand} one; check `hand=...`"
        yield Finding("side", "warn", text)
    elif pose.status == "ok":
        yield Finding("side", "ok", f"consistent with a {pose.hand} hand")
