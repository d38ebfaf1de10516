"""NYU (Tompson et al., TOG 2014): reading and writing the first of its three views and 14 of its 36 joints."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from handpose.datasets.dataset import HandDataset, choose_centers, find, find_damaged
from handpose.datasets.matfile import read_mat, write_mat
from handpose.errors import HandPoseError
from handpose.geometry.camera import CAMERAS
from handpose.geometry.layouts import NYU14
from handpose.io.choices import Split
from handpose.io.outputs import refuse_existing

JOINTS = (0, 3, 6, 9, 12, 15, 18, 21, 24, 25, 27, 30, 31, 32)
"""Indices of the evaluated joints among all 36."""

CUBE = 250.0
"""Side of the cube in evaluation, mm."""

SECOND_SUBJECT = 2440
"""Index of the first test frame of the second subject, whose hand is smaller."""

SECOND_CUBE = CUBE * 5 / 6
"""Side of the second subject's cube, mm; the ratio is that of the cubes of DeepPrior++, 300 and 250 mm."""

TRAIN_CUBES = (250.0, 300.0)

FRAMES = {"train": 72_757, "test": 8_252}
"""Number of frames in the published files."""

_LABELS = "joint_data.mat"
_MIN_MM = 10.0  # a depth below this is not in mm
_ALL_JOINTS = 36
_UP = np.array([1.0, -1.0, 1.0])  # the labels' y axis points up


def open_nyu(root: str | Path, split: Split, *, centers: str | Path = "refined") -> HandDataset:
    """Open a split of NYU, view 1.

    Args:
        root: Folder that contains `train` and `test`, or a folder `dataset` with both.
        split: `train` or `test`.
        centers: `refined`, `truth`, `localize`, or a file of centers (y up).

    Raises:
        HandPoseError: The folder, the labels or the centers are invalid.
    """
    root = Path(root)
    labels = find(root, (f"{split}/{_LABELS}", f"dataset/{split}/{_LABELS}"), f"NYU {split} data")
    stored = read_mat(labels, "joint_xyz")
    if stored.ndim != 4 or stored.shape[2:] != (_ALL_JOINTS, 3) or stored.size == 0:
        raise HandPoseError(f"{labels}: joint_xyz must be (views, frames, 36, 3), got {stored.shape}; copy it again")
    xyz = stored[0][:, JOINTS].astype(np.float64) * _UP
    if not np.isfinite(xyz).all():
        raise HandPoseError(f"{labels}: joint_xyz contains values that are not finite; copy it again")
    names = [image_name(i) for i in range(len(xyz))]
    candidates = (f"center_{split}_refined.txt", f"center/center_{split}_refined.txt", f"{split}_center_NYU.txt")
    known, description = choose_centers(centers, root, [candidates], xyz, y_up=True)
    cubes = np.full(len(xyz), CUBE)
    if split == "test":
        cubes[SECOND_SUBJECT:] = SECOND_CUBE
    folder = labels.parent
    return HandDataset(
        "nyu",
        split,
        folder,
        names,
        xyz,
        known,
        description,
        cubes,
        TRAIN_CUBES,
        unit="nyu",
        damaged=find_damaged(folder, names, known),
        notes=() if len(xyz) == FRAMES[split] else (f"{len(xyz)} frames; the published set has {FRAMES[split]}",),
    )


def write_nyu(
    root: str | Path, split: Split, frames: Iterable[tuple[np.ndarray, np.ndarray]], *, force: bool = False
) -> int:
    """Write frames as a split in the format of NYU, and return their number.

    There is only one view, and the joints that are not evaluated are 0. There are no refined centers, so open the
    split with `centers="truth"` or `"localize"`.

    Args:
        root: Folder in which `train` or `test` is created.
        split: `train` or `test`.
        frames: Depth (480, 640) in mm of the camera `nyu`, and joints (14, 3) in mm, camera frame (y down).
        force: Whether an existing split may be overwritten.

    Raises:
        HandPoseError: The split exists, a frame has other shapes or is not in mm, or there are no frames.
    """
    folder = Path(root) / split
    refuse_existing(folder / _LABELS, force=force)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _LABELS).unlink(missing_ok=True)  # they would be those of other images if writing is interrupted
    camera = CAMERAS["nyu"]
    joints = []
    for i, (depth, xyz) in enumerate(frames):
        if depth.shape != (camera.height, camera.width) or xyz.shape != (len(NYU14), 3):
            raise HandPoseError(
                f"frame {i}: expected depth (480, 640) and joints (14, 3), got {depth.shape} and {xyz.shape}"
            )
        largest, nearest = np.nanmax(depth, initial=0.0), np.min(xyz[:, 2])
        if 0.0 < largest < _MIN_MM or not nearest >= _MIN_MM:
            raise HandPoseError(
                f"frame {i}: expected depth and joints in mm in front of the camera, got depths up to {largest:.4g} "
                f"and joints from z = {nearest:.4g}; multiply meters by 1000"
            )
        rounded = np.clip(np.rint(depth), 0, 65_535).astype(np.uint16)
        coded = np.stack([rounded & 255, rounded >> 8, np.zeros_like(rounded)], axis=-1).astype(np.uint8)  # BGR
        (folder / image_name(i)).write_bytes(cv2.imencode(".png", coded)[1].tobytes())
        joints.append(xyz)
    if not joints:
        raise HandPoseError(f"{folder}: there are no frames to write")
    truth = np.array(joints, dtype=np.float64)
    arrays = {}
    for name, values in (("joint_xyz", truth * _UP), ("joint_uvd", camera.project(truth))):
        arrays[name] = np.zeros((1, len(truth), _ALL_JOINTS, 3))
        arrays[name][0][:, JOINTS] = values
    write_mat(folder / _LABELS, arrays)
    return len(truth)


def image_name(i: int) -> str:
    """Return the file name of frame `i`, starting at 0, in view 1."""
    return f"depth_1_{i + 1:07d}.png"
