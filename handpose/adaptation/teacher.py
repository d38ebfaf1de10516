"""Labels frames with the most accurate mode of existing weights, and leaves out uncertain poses."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from handpose.errors import HandPoseError
from handpose.geometry.camera import Camera
from handpose.inference.estimator import HandPoseEstimator
from handpose.io.atomic import write_atomically
from handpose.io.choices import Hand
from handpose.io.depth.read import read_depth
from handpose.io.depth.units import DepthUnit, DepthUnitWarning
from handpose.io.progress import track
from handpose.io.warn import warn_skipped
from handpose.results.pose import HandPose

_KERNEL = (0.25, 0.5, 0.25)  # of the temporal smoothing
_SAME_POSE_MM = 30.0  # mean distance between the joints of neighboring frames of a sequence
_KEPT = 0.8  # share of the confident poses that are kept: those with the lowest expected error


@dataclass(frozen=True)
class UnlabeledFrames:
    """Depth files of one camera, with unit and hand.

    Attributes:
        files: The depth files; those in one folder, in this order, are a sequence.
        camera: Camera of the images.
        unit: Unit of the depth values.
        hand: Which hand the images show.
    """

    files: Sequence[Path]
    camera: Camera
    unit: DepthUnit = "mm"
    hand: Hand = "right"


def label_frames(frames: UnlabeledFrames, teacher: HandPoseEstimator, out: Path) -> int:
    """Predict the poses of frames, write the confident ones as records, and return their number.

    Args:
        frames: The frames.
        teacher: The estimator; with four views, it is the most accurate.
        out: File of records to write.

    Raises:
        HandPoseError: No pose is confident.
    """
    poses: dict[Path, HandPose] = {}
    for file in track(frames.files, "labeling frames", len(frames.files)):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DepthUnitWarning)  # the unit is known
                depth = read_depth(file, frames.unit)
                pose = teacher.predict(depth, camera=frames.camera, hand=frames.hand)
        except HandPoseError as error:
            warn_skipped(str(file), error)
        else:
            if pose.status == "ok":
                poses[file] = pose
    if not poses:
        raise HandPoseError(f"all {len(frames.files)} poses are uncertain; check the camera and the unit")
    errors = {file: float(pose.error_mm.mean()) for file, pose in poses.items()}
    limit = np.quantile([*errors.values()], _KEPT)
    certain = [file for file in poses if not errors[file] > limit]  # also if the errors are unknown
    smooth = _smoothed(frames.files, poses)
    lines = [json.dumps(_record(file, smooth[file], poses[file], frames, teacher.name)) + "\n" for file in certain]
    write_atomically(out, "".join(lines).encode())
    return len(certain)


def _smoothed(files: Iterable[Path], poses: dict[Path, HandPose]) -> dict[Path, np.ndarray]:
    """Return the joints (J, 3) of each pose, averaged with its neighbors in a sequence if they are similar."""
    files = list(files)
    smooth = {file: pose.xyz for file, pose in poses.items()}
    for before, file, after in zip(files, files[1:], files[2:], strict=False):
        three = [poses.get(other) for other in (before, file, after)]
        if before.parent != file.parent or file.parent != after.parent or not all(three):
            continue
        joints = np.stack([pose.xyz for pose in three if pose is not None])
        if np.linalg.norm(np.diff(joints, axis=0), axis=-1).mean(axis=1).max() < _SAME_POSE_MM:
            smooth[file] = np.tensordot(_KERNEL, joints, axes=1)
    return smooth


def _record(file: Path, xyz: np.ndarray, pose: HandPose, frames: UnlabeledFrames, name: str) -> dict[str, Any]:
    return {
        "source": str(file.resolve()),
        "sequence": str(file.resolve().parent),
        "layout": pose.layout.name,
        "hand": pose.hand,
        "xyz_mm": np.round(xyz, 2).tolist(),
        "center_mm": np.round(pose.center, 2).tolist(),
        "camera": frames.camera.to_dict(),
        "unit": frames.unit,
        "labeled_by": name,
    }
