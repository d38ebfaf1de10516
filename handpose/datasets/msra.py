"""MSRA (Sun et al., CVPR 2015): 9 subjects with 17 gestures each, 21 joints, and cropped `.bin` depth images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from handpose.datasets.dataset import HandDataset, choose_centers, find, find_damaged, read_joints
from handpose.errors import HandPoseError
from handpose.geometry.layouts import MSRA21
from handpose.io.choices import Split
from handpose.io.text import MAX_LABELS_BYTES, read_text

SUBJECTS = 9

GESTURES = ("1", "2", "3", "4", "5", "6", "7", "8", "9", "I", "IP", "L", "MP", "RP", "T", "TIP", "Y")
"""Gestures, in the order of the files of centers."""

CUBE = 175.0
"""Side of the cube in evaluation, mm."""

TRAIN_CUBES = (150.0, 200.0)

_TO_CAMERA = np.array([1.0, -1.0, -1.0])  # the labels' y axis points up, and their z axis toward the camera


def open_msra(root: str | Path, split: Split, *, subject: int, centers: str | Path = "refined") -> HandDataset:
    """Open one subject of MSRA for testing, or the other eight for training.

    Args:
        root: Folder that contains `P0` to `P8`.
        split: `test` for this subject, `train` for all others.
        subject: Subject that is excluded from training, 0 to 8.
        centers: `refined`, `truth`, `localize`, or a folder of files `center_test_0_refined.txt` etc. (y up). Each
            file contains the centers of a subject that the centers' model was not trained on.

    Raises:
        HandPoseError: The folder, a label line or the centers are invalid.
    """
    root = Path(root)
    if subject not in range(SUBJECTS):
        raise HandPoseError(f"subject must be 0 to {SUBJECTS - 1}, got {subject!r}")
    chosen = [subject] if split == "test" else [other for other in range(SUBJECTS) if other != subject]
    names: list[str] = []
    xyz: list[np.ndarray] = []
    notes = []
    for person in chosen:
        folder = find(root, (f"P{person}",), f"subject {person} of MSRA")
        gestures = [gesture for gesture in GESTURES if (folder / gesture).is_dir()]
        if not gestures:
            find(folder, tuple(f"{gesture}/joint.txt" for gesture in GESTURES), "MSRA gestures")
        if missing := [gesture for gesture in GESTURES if gesture not in gestures]:
            notes.append(f"P{person} lacks the gestures {', '.join(missing)}")
        for gesture in gestures:
            joints = _read_joints(find(folder, (f"{gesture}/joint.txt",), "MSRA labels"))
            names += [f"P{person}/{gesture}/{i:06d}_depth.bin" for i in range(len(joints))]
            xyz.append(joints)
    truth = np.concatenate(xyz) * _TO_CAMERA
    files = [f"center_test_{person}_refined.txt" for person in chosen]
    known, description = choose_centers(centers, root, [(file, f"center/{file}") for file in files], truth, y_up=True)
    return HandDataset(
        "msra",
        split,
        root,
        names,
        truth,
        known,
        description,
        np.full(len(names), CUBE),
        TRAIN_CUBES,
        damaged=find_damaged(root, names, known),
        notes=(*([f"subject {subject} is excluded from training"] if split == "train" else []), *notes),
    )


def _read_joints(path: Path) -> np.ndarray:
    """Read joints (N, 21, 3) as stored: a line with the number of frames, then one line per frame."""
    lines = read_text(path, MAX_LABELS_BYTES).splitlines()
    try:
        count = int(lines[0])
    except (ValueError, IndexError):
        raise HandPoseError(
            f"{path}, line 1: expected the number of frames, got {lines[0][:60] if lines else 'nothing'!r}"
        ) from None
    rows = [
        read_joints(line.split(), len(MSRA21), path, number) for number, line in enumerate(lines[1:], 2) if line.strip()
    ]
    if len(rows) != count:
        raise HandPoseError(f"{path}: expected {lines[0][:20]} frames, got {len(rows)}; copy it again")
    return np.array(rows).reshape(-1, len(MSRA21), 3)
