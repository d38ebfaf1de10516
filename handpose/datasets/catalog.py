"""One door to all data sets."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from handpose.datasets.dataset import DatasetName, HandDataset, Split
from handpose.datasets.icvl import open_icvl
from handpose.datasets.msra import open_msra
from handpose.datasets.nyu import open_nyu
from handpose.errors import HandPoseError


def open_dataset(
    name: DatasetName,
    root: str | Path,
    split: Split,
    *,
    centers: str | Path = "refined",
    subject: int | None = None,
    rotated: bool = True,
    cube: float | None = None,
) -> HandDataset:
    """A split of a data set.

    Args:
        name: `icvl`, `nyu` or `msra`.
        root: its folder.
        split: `train` or `test`.
        centers: where the hands' cubes are: `refined` (the files that V2V-PoseNet published), `truth` (the mean
            of the true joints), `localize` (`handpose.localize_hands` on each image), or a path to such files.
        subject: of MSRA, 0 to 8, the one that is tested on and left out of training.
        rotated: of ICVL, keep the rotated copies among the training images.
        cube: side of all cubes, mm, instead of the data set's own.

    Raises:
        HandPoseError: the folder does not hold this data set, or a label or centre file is damaged.
    """
    if name not in get_args(DatasetName) or split not in get_args(Split):
        raise HandPoseError(f"expected a data set icvl, nyu or msra and a split train or test, got {name!r}, {split!r}")
    if (name == "msra") != (subject is not None):
        raise HandPoseError(
            f"{name} has no subjects to leave out; subject is for msra"
            if subject is not None
            else "msra needs the subject, 0 to 8, that is tested on and left out of training"
        )
    if not rotated and name != "icvl":
        raise HandPoseError(f"{name} has no rotated copies to leave out; rotated=False is for icvl")
    if subject is not None:
        dataset = open_msra(root, split, subject=subject, centers=centers)
    elif name == "icvl":
        dataset = open_icvl(root, split, centers=centers, rotated=rotated)
    else:
        dataset = open_nyu(root, split, centers=centers)
    return dataset if cube is None else dataset.with_cube(cube)
