"""Labels frames with the most accurate mode of existing weights, and leaves out uncertain poses."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import numpy as np

from handpose.errors import HandPoseError
from handpose.geometry.camera import Camera
from handpose.inference.estimator import HandPoseEstimator
from handpose.io.arguments import check_choice, check_kind
from handpose.io.atomic import write_atomically
from handpose.io.choices import DEFAULT_HAND, Hand, HandOrAuto
from handpose.io.depth.read import read_depth
from handpose.io.depth.units import DepthUnit, DepthUnitWarning
from handpose.io.progress import track
from handpose.io.warn import collect_warnings, warn_skipped
from handpose.results.pose import HandPose

_WINDOW = 2  # frames before and after a frame that it is smoothed with
_MIN_WINDOW = 3  # frames; a line fits two points exactly
_SAME_POSE_MM = 30.0  # mean distance between the joints of neighboring frames of a sequence
_SIDE_FRAMES = 24  # of each folder, from which its side is predicted
_MAX_LOG_ODDS = 4.0  # limit for the side of one frame, since a network that is wrong can be very sure
_MIN_LOG_ODDS = 1.0  # of the side of a folder, on average; frames of both hands would be close to 0
_KEPT = 0.8  # share of the confident poses that are kept: those with the lowest expected error


@dataclass(frozen=True)
class UnlabeledFrames:
    """Depth files of one camera, with unit and hand. The files in one folder show the same hand.

    Attributes:
        files: The depth files; those in one folder, in this order, are a sequence.
        camera: Camera of the images.
        unit: Unit of the depth values.
        hand: Which hand the images show; `auto` predicts it for each folder.
    """

    files: Sequence[Path]
    camera: Camera
    unit: DepthUnit = "mm"
    hand: HandOrAuto = DEFAULT_HAND

    def __post_init__(self) -> None:
        check_kind("camera", self.camera, Camera, "a handpose.Camera")
        check_choice("hand", self.hand, get_args(HandOrAuto))
        object.__setattr__(self, "files", [Path(file) for file in self.files])


def label_frames(frames: UnlabeledFrames, teacher: HandPoseEstimator, out: Path) -> int:
    """Predict the poses of frames, write the confident ones as records, and return their number.

    Args:
        frames: The frames.
        teacher: The estimator; with four views, it is the most accurate.
        out: File of records to write.

    Raises:
        HandPoseError: No frame can be read, no pose is confident, or it is unclear which hand a folder shows.
    """
    failed: list[HandPoseError] = []
    poses: dict[Path, HandPose] = {}
    sides = dict[Path, Hand]()
    for folder in {file.parent: None for file in frames.files}:
        sides[folder] = _side(folder, frames, teacher) if frames.hand == "auto" else frames.hand
    for file in track(frames.files, "labeling frames", len(frames.files)):
        try:
            pose = _predict(file, frames, teacher, sides[file.parent])
        except HandPoseError as error:
            failed.append(error)
            warn_skipped(str(file), error)
        else:
            if pose.status == "ok":
                poses[file] = pose
    if failed and len(failed) == len(frames.files):
        raise HandPoseError(f"none of the {len(failed)} frames can be predicted: {failed[0]}")
    if not poses:
        raise HandPoseError(f"all {len(frames.files)} poses are uncertain; check the camera and the unit")
    errors = {file: float(pose.error_mm.mean()) for file, pose in poses.items()}
    limit = np.quantile([*errors.values()], _KEPT)
    certain = [file for file in poses if not errors[file] > limit]  # also if the errors are unknown
    smooth = _smoothed(frames.files, poses)
    lines = [json.dumps(_record(file, smooth[file], poses[file], frames, teacher.name)) + "\n" for file in certain]
    write_atomically(out, "".join(lines).encode())
    return len(certain)


def _side(folder: Path, frames: UnlabeledFrames, teacher: HandPoseEstimator) -> Hand:
    """Return which hand the files in a folder show, predicted from some of them."""
    files, teacher = [file for file in frames.files if file.parent == folder], teacher.for_new_job()
    log_odds = []
    for i in sorted(set(np.linspace(0, len(files) - 1, _SIDE_FRAMES).round().astype(int).tolist())):
        try:
            with collect_warnings([]):
                pose = _predict(files[i], frames, teacher, "auto")
        except HandPoseError:  # reported when it is labeled
            continue
        if pose.status == "ok":
            log_odds.append(min(pose.side_log_odds, _MAX_LOG_ODDS) * (1 if pose.hand == "right" else -1))
    right = float(np.mean(log_odds)) if log_odds else math.inf  # without any confident pose, there are no labels
    if abs(right) < _MIN_LOG_ODDS:
        raise HandPoseError(f"{folder}: it is unclear whether the frames show right or left hands; pass `hand=...`")
    return "right" if right > 0 else "left"


def _predict(file: Path, frames: UnlabeledFrames, teacher: HandPoseEstimator, hand: HandOrAuto) -> HandPose:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DepthUnitWarning)  # the unit is known
        return teacher.predict(read_depth(file, frames.unit), camera=frames.camera, hand=hand)


def _smoothed(files: Sequence[Path], poses: dict[Path, HandPose]) -> dict[Path, np.ndarray]:
    """Return the joints (J, 3) of each pose after smoothing over time.

    A line is fitted to the positions of each joint in the frame and in its neighbors, weighted by the expected errors.
    """
    smooth = {}
    for i, file in enumerate(files):
        if file not in poses:
            continue
        first = i - len(_similar(files[max(0, i - _WINDOW) : i + 1][::-1], poses))
        last = i + len(_similar(files[i : i + 1 + _WINDOW], poses))
        window = [poses[other] for other in files[first : last + 1]]
        times = np.arange(first - i, last - i + 1)
        smooth[file] = poses[file].xyz if len(window) < _MIN_WINDOW else _line(times, window)
    return smooth


def _similar(files: Sequence[Path], poses: dict[Path, HandPose]) -> list[Path]:
    """Return the files after the first one, up to a missing pose, another folder, or a pose that is not similar."""
    similar: list[Path] = []
    for before, file in pairwise(files):
        if file not in poses or file.parent != before.parent:
            break
        if np.linalg.norm(poses[file].xyz - poses[before].xyz, axis=1).mean() >= _SAME_POSE_MM:
            break
        similar.append(file)
    return similar


def _line(times: np.ndarray, poses: Sequence[HandPose]) -> np.ndarray:
    """Return the joints (J, 3) at time 0 on the lines of least squares through those at times (T,)."""
    joints = np.stack([pose.xyz for pose in poses])
    weights = np.stack([pose.error_mm for pose in poses])[..., None] ** -2.0
    t = times[:, None, None]
    total, first, second = ((weights * t**power).sum(axis=0) for power in range(3))
    value: np.ndarray = (weights * (second - first * t) * joints).sum(axis=0) / (total * second - first**2)
    return value


def _record(file: Path, xyz: np.ndarray, pose: HandPose, frames: UnlabeledFrames, name: str) -> dict[str, Any]:
    return {
        "source": str(file.resolve()),
        "sequence": str(file.resolve().parent),
        "layout": pose.layout.name,
        "hand": pose.hand,
        "xyz_mm": np.round(xyz, 2).tolist(),
        "center_mm": np.round(pose.center, 2).tolist(),
        "cube_mm": pose.cube,
        "camera": frames.camera.to_dict(),
        "unit": frames.unit,
        "labeled_by": name,
    }
