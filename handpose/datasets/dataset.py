"""What all data sets are once they are read: labelled depth images of one camera."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from handpose.errors import DepthReadError, HandPoseError
from handpose.geometry.camera import CAMERAS, Camera
from handpose.geometry.layouts import LAYOUTS, JointLayout
from handpose.io.depth.read import read_depth
from handpose.io.depth.units import DepthUnit, DepthUnitWarning
from handpose.localization.centers import read_centers
from handpose.localization.localizer import localize_hands

DatasetName = Literal["icvl", "nyu", "msra"]
Split = Literal["train", "test"]


@dataclass(frozen=True, eq=False)
class LabeledFrame:
    """One labeled depth image.

    Attributes:
        name: the file, relative to the data set's folder.
        depth: (H, W) float32 mm, 0 = no reading.
        camera: of `depth`.
        xyz: (J, 3) true joints, camera frame (y down), mm.
        center: (3,) the hand's centre, camera frame, mm; none if none is known.
        cube: side of the cube for evaluation, mm.
    """

    name: str
    depth: np.ndarray
    camera: Camera
    xyz: np.ndarray
    center: np.ndarray | None
    cube: float


@dataclass(frozen=True, eq=False)
class HandDataset:
    """A split of a data set: all labels in memory, images read when asked for.

    Frames keep the numbers that the label files give them, whether or not their image is there.

    Attributes:
        name: the data set, which is also the name of its camera and its joint layout.
        split: `train` or `test`.
        root: the folder that the file names are relative to.
        files: N depth files.
        xyz: (N, J, 3) true joints, camera frame (y down), mm.
        known_centers: (N, 3) mm, NaN where there is none; none if they are to be found in the images.
        centers: where the centres come from, to be printed with every result.
        cubes: (N,) side of each frame's cube for evaluation, mm.
        train_cubes: smallest and largest side of cubes in training, mm.
        unit: what the images' numbers mean.
        damaged: what is wrong with frames that cannot be used, by their number, as far as it shows without
            opening images.
        notes: what a reader of results should know, such as missing parts.
    """

    name: DatasetName
    split: Split
    root: Path
    files: Sequence[str]
    xyz: np.ndarray
    known_centers: np.ndarray | None
    centers: str
    cubes: np.ndarray
    train_cubes: tuple[float, float]
    unit: DepthUnit = "mm"
    damaged: dict[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def layout(self) -> JointLayout:
        """The joints' names and order."""
        return LAYOUTS[self.name]

    @property
    def camera(self) -> Camera:
        """The camera of all images."""
        return CAMERAS[self.name]

    @property
    def usable(self) -> np.ndarray:
        """Numbers of the frames that are not known to be damaged."""
        return np.setdiff1d(np.arange(len(self)), list(self.damaged))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> LabeledFrame:
        """Frame `i`, its image read now.

        Raises:
            DepthReadError: the image is missing, damaged or empty.
            IndexError: there is no such frame.
        """
        if not 0 <= i < len(self):
            raise IndexError(f"{self.name} {self.split} has frames 0 to {len(self) - 1}, got {i}")
        depth = self._read(self.root / self.files[i])
        if self.known_centers is None:
            center = next(iter(localize_hands(depth, self.camera)), None)
        else:
            center = self.known_centers[i] if np.isfinite(self.known_centers[i]).all() else None
        return LabeledFrame(self.files[i], depth, self.camera, self.xyz[i], center, float(self.cubes[i]))

    def subset(self, indices: Sequence[int] | np.ndarray) -> HandDataset:
        """These frames only, numbered anew."""
        numbers = [int(i) for i in indices]
        return replace(
            self,
            files=[self.files[i] for i in numbers],
            xyz=self.xyz[numbers],
            known_centers=None if self.known_centers is None else self.known_centers[numbers],
            cubes=self.cubes[numbers],
            damaged={place: self.damaged[i] for place, i in enumerate(numbers) if i in self.damaged},
        )

    def with_cube(self, cube: float) -> HandDataset:
        """The same with one side, mm, for all cubes, in training too."""
        return replace(self, cubes=np.full(len(self), float(cube)), train_cubes=(float(cube), float(cube)))

    def summary(self) -> dict[str, Any]:
        """What a result on this data set has to say of it."""
        sides = sorted({round(float(side), 1) for side in self.cubes})
        return {
            "dataset": self.name,
            "split": self.split,
            "frames": len(self),
            "centers": self.centers,
            "cube_mm": sides,
            "damaged": {self.files[i]: reason for i, reason in sorted(self.damaged.items())},
            "notes": list(self.notes),
        }

    def _read(self, path: Path) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DepthUnitWarning)  # the unit is known
            depth = read_depth(path, self.unit)
        if not depth.any():
            raise DepthReadError(f"{path}: no pixel has a reading")
        camera = self.camera
        if depth.shape != (camera.height, camera.width):
            raise DepthReadError(
                f"{path}: expected an image of {camera.width} x {camera.height} px, as all of {self.name}, got "
                f"{depth.shape[1]} x {depth.shape[0]}"
            )
        return depth


def find(root: Path, candidates: Sequence[str], what: str, advice: str = "") -> Path:
    """The first of `candidates` below `root` that exists.

    Args:
        root: a folder.
        candidates: relative paths.
        what: they are, for the message.
        advice: its end.

    Raises:
        HandPoseError: none does; says what was looked for and what is there.
    """
    for candidate in candidates:
        if (root / candidate).exists():
            return root / candidate
    if not root.is_dir():
        raise HandPoseError(f"{root}: no such folder; expected one with the {what}{advice}")
    entries = sorted(entry.name + "/" * entry.is_dir() for entry in root.iterdir())
    found = ", ".join(entries[:8]) + (f" and {len(entries) - 8} more" if len(entries) > 8 else "")
    raise HandPoseError(
        f"{root}: no {what} here; looked for {' or '.join(candidates)}, found {found or 'nothing'}{advice}"
    )


def read_joints(words: Sequence[str], count: int, path: Path, line: int) -> np.ndarray:
    """The numbers (count, 3) that a label line's words stand for.

    Args:
        words: of the line.
        count: how many joints there must be.
        path: the label file, for the message.
        line: its number, from 1.

    Raises:
        HandPoseError: there are more or fewer, or not numbers; names file and line.
    """
    try:
        numbers = np.array(words, dtype=np.float64)
    except ValueError:
        numbers = np.empty(0)
    if len(numbers) != 3 * count or not np.isfinite(numbers).all():
        raise HandPoseError(
            f"{path}, line {line}: expected {3 * count} numbers of {count} joints, got "
            f"{len(words)} words: {' '.join(words)[:60]!r}; copy the label file again"
        )
    return numbers.reshape(count, 3)


def choose_centers(
    choice: str | Path, root: Path, files: Sequence[Sequence[str]], xyz: np.ndarray, *, y_up: bool
) -> tuple[np.ndarray | None, str]:
    """The centres (N, 3) mm that a user's word stands for, none if they are to be found; and that word at length.

    Args:
        choice: `refined`, `truth` (the mean of the true joints), `localize`, or the path of a file or folder.
        root: where `refined` looks.
        files: names that a file of centres goes by; for each of several, their lines one after the other.
        xyz: (N, J, 3) true joints, mm.
        y_up: the files' y axis points up.

    Raises:
        HandPoseError: a file is missing, damaged, or for another number of frames.
    """
    if choice == "localize":
        return None, "localize (found in each image)"
    if choice == "truth":
        return xyz.mean(axis=1), "truth (mean of the true joints)"
    folder = root if choice == "refined" else Path(choice)
    advice = "; see the data set's page in docs for where to get it, or choose the centres truth or localize"
    what = "file of hand centres"
    found = [folder if folder.is_file() else find(folder, names, what, advice) for names in files]
    centers = np.concatenate([read_centers(path, y_up=y_up) for path in found])
    if len(centers) != len(xyz):
        names = ", ".join(str(path) for path in found)
        raise HandPoseError(
            f"{names}: {len(centers)} hand centres, but the labels list {len(xyz)} frames; expected one line for each. "
            "Take the centres of this copy of the data set, or choose truth or localize"
        )
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return centers, f"refined ({found[0].name}{more})" if choice == "refined" else f"given ({found[0]}{more})"


def find_damaged(root: Path, files: Sequence[str], centers: np.ndarray | None) -> dict[int, str]:
    """What is wrong, by frame number: no file, or no centre."""
    damaged: dict[int, str] = {}
    if centers is not None:
        damaged = dict.fromkeys(np.flatnonzero(~np.isfinite(centers).all(axis=1)).tolist(), "no hand centre")
    folders: dict[str, set[str]] = {}
    for i, file in enumerate(files):
        folder, _, name = file.rpartition("/")
        if folder not in folders:  # one listing per folder: asking for each of 300,000 files takes minutes
            try:
                folders[folder] = {entry.name for entry in os.scandir(root / folder)}
            except (OSError, ValueError):  # not there, or a name that cannot be
                folders[folder] = set()
        if name not in folders[folder]:
            damaged[i] = "no such file"
    return damaged
