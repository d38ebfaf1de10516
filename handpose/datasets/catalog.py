"""Opening data sets by name."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from handpose.datasets.dataset import HandDataset
from handpose.datasets.icvl import open_icvl
from handpose.datasets.msra import open_msra
from handpose.datasets.nyu import open_nyu
from handpose.datasets.records import open_records
from handpose.errors import HandPoseError
from handpose.io.choices import DatasetName, LayoutName, Split


def open_dataset(
    name: DatasetName,
    root: str | Path,
    split: Split,
    *,
    centers: str | Path = "refined",
    subject: int | None = None,
    rotated: bool = True,
    cube: float | None = None,
    test_share: float = 0.0,
) -> HandDataset:
    """Open a split of a data set.

    Args:
        name: `icvl`, `nyu`, `msra`, or `records` for your own frames.
        root: Folder of the data set; for records, also their file, see `open_records`.
        split: `train` or `test`.
        centers: Source of the hand centers: `refined` (the files published with V2V-PoseNet), `truth` (the mean of
            the true joints), `localize` (`handpose.localize_hands` on each image), or a path to files of centers.
        subject: For MSRA, the subject (0 to 8) that is used for testing and excluded from training.
        rotated: For ICVL, whether the training images include the rotated copies.
        cube: Side of all cubes, mm, instead of the sides that the data set defines.
        test_share: Share of the frames of a single file of records that belong to the test split.

    Raises:
        HandPoseError: The folder does not contain this data set, or a file of labels or centers is damaged.

    Warns:
        UserWarning: Many hand centers are far from the true joints, perhaps because their y axis has the other
            direction; for records, see `open_records`.
    """
    names = (*get_args(LayoutName), "records")
    if name not in names or split not in get_args(Split):
        raise HandPoseError(
            f"expected a data set icvl, nyu, msra or records and a split train or test, got {name!r}, {split!r}"
        )
    if (name == "msra") != (subject is not None):
        raise HandPoseError(
            f"{name} has no subjects; subject is only for msra"
            if subject is not None
            else "msra requires the subject, 0 to 8, that is used for testing and excluded from training"
        )
    if not rotated and name != "icvl":
        raise HandPoseError(f"{name} has no rotated copies; rotated=False is only for icvl")
    if test_share > 0.0 and name != "records":
        raise HandPoseError(f"{name} has its own test split; test_share is only for records")
    dataset: HandDataset
    if subject is not None:
        dataset = open_msra(root, split, subject=subject, centers=centers)
    elif name == "icvl":
        dataset = open_icvl(root, split, centers=centers, rotated=rotated)
    elif name == "nyu":
        dataset = open_nyu(root, split, centers=centers)
    else:
        dataset = open_records(root, split, centers=centers, test_share=test_share)
    return dataset if cube is None else dataset.with_cube(cube)
