"""ICVL (Tang et al., CVPR 2014): 16 joints, 16-bit PNG in mm, and a text line of pixels and depths per image."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from handpose.datasets.dataset import HandDataset, choose_centers, find, find_damaged, read_joints
from handpose.errors import HandPoseError
from handpose.geometry.camera import CAMERAS
from handpose.geometry.layouts import ICVL16
from handpose.io.choices import Split
from handpose.io.text import MAX_LABELS_BYTES, read_text

CUBE = 250.0
"""Side of the cube, mm, in training and evaluation."""

FRAMES = {"train": 331_006, "test": 1_596}
"""Number of frames in the published files."""

_LABELS = {"train": ("labels.txt",), "test": ("test_seq_1.txt", "test_seq_2.txt")}
_FOLDERS = {"train": ("Training", "Training_2014"), "test": ("Testing", "Testing_2014")}
# Sequences are named after their time, 201403121135; rotated copies lie one folder deeper, 22-5/201403121135.
_ORIGINAL = re.compile(r"\d{8,}/")


def open_icvl(root: str | Path, split: Split, *, centers: str | Path = "refined", rotated: bool = True) -> HandDataset:
    """Open a split of ICVL.

    Args:
        root: Folder that contains `Training` and `Testing`.
        split: `train` or `test`; the latter consists of sequence 1 followed by sequence 2.
        centers: `refined`, `truth`, `localize`, or a file of centers (y down).
        rotated: Whether to include the rotated copies, which are most of the training images.

    Raises:
        HandPoseError: The folder, a label line or the centers are invalid.
    """
    root = Path(root)
    folder = find(root, _FOLDERS[split], f"ICVL {split} data")
    names: list[str] = []
    uvz: list[np.ndarray] = []
    for file in _LABELS[split]:
        path = find(folder, (file,), "ICVL labels")
        for number, line in enumerate(read_text(path, MAX_LABELS_BYTES).splitlines(), 1):
            words = line.split()
            if words:  # empty lines are not frames
                names.append(words[0])
                uvz.append(read_joints(words[1:], len(ICVL16), path, number))
    if not names:
        raise HandPoseError(f"{folder}: the label files are empty; copy them again")
    xyz = CAMERAS["icvl"].unproject(np.array(uvz))
    images = folder / "Depth" if (folder / "Depth").is_dir() else folder

    candidates = (
        f"center_{split}_refined.txt",
        f"center/center_{split}_refined.txt",
        f"icvl_center_3D_{split}_refined.txt",
    )
    known, description = choose_centers(centers, root, [candidates], xyz, y_up=False)
    notes = () if len(names) == FRAMES[split] else (f"{len(names)} frames; the published set has {FRAMES[split]}",)
    if not rotated:
        kept = [i for i, name in enumerate(names) if _ORIGINAL.match(name)]
        if split != "train" or not kept:
            raise HandPoseError(
                f"{folder}: rotated=False selects the original training images, but there are none here"
            )
        names, xyz = [names[i] for i in kept], xyz[kept]
        known = None if known is None else known[kept]
        notes = (*notes, "without the rotated copies")
    return HandDataset(
        "icvl",
        split,
        images,
        names,
        xyz,
        known,
        description,
        np.full(len(names), CUBE),
        (CUBE, CUBE),
        damaged=find_damaged(images, names, known),
        notes=notes,
        originals=["/".join(name.split("/")[-2:]) for name in names] if split == "train" else (),
    )
