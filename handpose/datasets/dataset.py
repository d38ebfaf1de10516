"""Data sets in memory: labeled depth images."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from handpose.errors import DepthReadError, HandPoseError
from handpose.geometry.camera import CAMERAS, Camera
from handpose.geometry.crop import checked_side
from handpose.geometry.layouts import LAYOUTS, JointLayout
from handpose.geometry.rectification import rectify
from handpose.io.choices import DatasetName, Hand, Split
from handpose.io.depth.read import read_depth
from handpose.io.depth.units import DepthUnit, DepthUnitWarning
from handpose.io.warn import warn
from handpose.localization.centers import read_centers
from handpose.localization.localizer import localize_hands

FAR_MM = 100.0
"""Distance of hand centers from the mean of the labels; those of partly labeled hands are up to 80 mm away."""

_FAR_SHARE = 0.05  # of the frames of a public data set, some of whose centers are wrong


@dataclass(frozen=True, eq=False)
class LabeledFrame:
    """One labeled depth image.

    Attributes:
        name: File name, relative to the folder of the data set.
        depth: (H, W) float32 mm, 0 for missing pixels.
        camera: Camera of `depth`.
        xyz: (J, 3) true joints, camera frame (y down), mm.
        center: (3,) hand center, camera frame, mm; None if it is unknown.
        cube: Side of the cube in evaluation, mm.
        hand: Which hand the image shows.
        known: (J, 3) bool, which of u, v and z of each joint are labeled. `xyz` is a placeholder where they are not. By
            default, all are.
    """

    name: str
    depth: np.ndarray
    camera: Camera
    xyz: np.ndarray
    center: np.ndarray | None
    cube: float
    hand: Hand = "right"
    known: np.ndarray | None = None

    def as_right(self) -> LabeledFrame:
        """Return the frame of a right hand: this one, or its mirror image."""
        if self.hand == "right":
            return self
        mirror = np.array([-1.0, 1.0, 1.0])
        depth, camera = rectify(self.depth, self.camera)  # the mirror image of a lens is not a lens of the same model
        return replace(
            self,
            depth=depth[:, ::-1],
            camera=replace(camera, cx=depth.shape[1] - 1 - camera.cx),
            xyz=self.xyz * mirror,
            center=None if self.center is None else self.center * mirror,
            hand="right",
        )

    def targets(self, uvz: np.ndarray) -> np.ndarray:
        """Return the normalized joints (J, 3) with NaN for what is not labeled."""
        return uvz if self.known is None else np.where(self.known, uvz, np.nan)


@dataclass(frozen=True, eq=False, repr=False)
class HandDataset:
    """A split of a data set: all labels in memory, images read on access.

    A frame's index is its position in the label files, whether or not its image exists.

    Attributes:
        name: Name of the data set; that of its camera and of its joint layout, except for records.
        split: `train` or `test`.
        root: Folder that the file names are relative to.
        files: The N depth files.
        xyz: (N, J, 3) true joints, camera frame (y down), mm.
        known_centers: (N, 3) hand centers, mm, NaN for unknown ones; None to localize the hands in the images.
        centers: Description of the source of the centers, printed with every result.
        cubes: (N,) side of each frame's cube in evaluation, mm.
        train_cubes: Minimum and maximum side of the cubes in training, mm.
        unit: Unit of the depth values in the images.
        damaged: Problems of unusable frames, by index, as far as they are known without opening the images.
        notes: Remarks for readers of results, such as missing parts.
        cubes_chosen: Whether `cubes` were chosen for this data set, so that an evaluation does not replace them by the
            cubes that a model was trained with.
        originals: Name of the image that each frame is a rotated copy of, or its own name; empty without copies.
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
    cubes_chosen: bool = False
    originals: Sequence[str] = ()

    @property
    def layout(self) -> JointLayout:
        """The joint layout."""
        return LAYOUTS[self.name]

    @property
    def camera(self) -> Camera:
        """The camera of all images."""
        return CAMERAS[self.name]

    @property
    def origin(self) -> Path:
        """The folder or the file that error messages name."""
        return self.root

    @property
    def usable(self) -> np.ndarray:
        """Indices of the frames that are not known to be damaged."""
        return np.setdiff1d(np.arange(len(self)), list(self.damaged))

    def __repr__(self) -> str:
        """Return a short description, without the labels."""
        frames = f"{len(self)} frames" + (f", {len(self.damaged)} of them damaged" if self.damaged else "")
        kind = type(self).__name__
        return f"{kind}({self.name} {self.split}, {frames}, layout {self.layout.name}, centers: {self.centers})"

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> LabeledFrame:
        """Read the image of frame `i` and return the frame.

        Raises:
            DepthReadError: The image is missing, damaged or empty.
            IndexError: There is no such frame.
        """
        if not 0 <= i < len(self):
            raise IndexError(f"{self.name} {self.split} has frames 0 to {len(self) - 1}, got {i}")
        depth = self._read(self.root / self.files[i], self.unit)
        camera = self.camera
        if depth.shape != (camera.height, camera.width):
            raise DepthReadError(
                f"{self.root / self.files[i]}: expected an image of {camera.width} x {camera.height} px, as in all of "
                f"{self.name}, got {depth.shape[1]} x {depth.shape[0]}"
            )
        if self.known_centers is None:
            center = next(iter(localize_hands(depth, self.camera)), None)
        else:
            center = self.known_centers[i] if np.isfinite(self.known_centers[i]).all() else None
        return LabeledFrame(self.files[i], depth, self.camera, self.xyz[i], center, float(self.cubes[i]))

    def camera_of(self, i: int) -> Camera:
        """Return the camera of the image of frame `i`."""
        return self.camera

    def subset(self, indices: Sequence[int] | np.ndarray) -> HandDataset:
        """Return a data set of these frames only, with new indices."""
        chosen = [int(i) for i in indices]
        return replace(
            self,
            files=[self.files[i] for i in chosen],
            xyz=self.xyz[chosen],
            known_centers=None if self.known_centers is None else self.known_centers[chosen],
            cubes=self.cubes[chosen],
            damaged={position: self.damaged[i] for position, i in enumerate(chosen) if i in self.damaged},
            originals=[self.originals[i] for i in chosen] if self.originals else (),
        )

    def hold_out(self, share: float) -> tuple[HandDataset, HandDataset]:
        """Split the usable frames into two data sets, with an image and its rotated copies in the same one.

        Args:
            share: Share of the images, at the end, in the second data set, which has at least one frame.

        Raises:
            HandPoseError: There are fewer than two usable frames.
        """
        frames = self.usable
        names = [(self.originals or self.files)[i] for i in frames]
        images = [*dict.fromkeys(names)]
        kept = len(images) - max(1, round(share * len(images)))
        if kept < 1:
            raise HandPoseError(
                f"{self.origin}: {len(frames)} of {len(self)} frames are usable, which are too few for training"
            )
        held_out = set(images[kept:])
        is_held_out = np.array([name in held_out for name in names])
        return self.subset(frames[~is_held_out]), self.subset(frames[is_held_out])

    def with_cube(self, cube: float) -> HandDataset:
        """Return the data set with the same side, mm, for all cubes in training and evaluation.

        Raises:
            HandPoseError: The side is not plausible.
        """
        side = checked_side(cube)
        return replace(self, cubes=np.full(len(self), side), train_cubes=(side, side), cubes_chosen=True)

    def summary(self) -> dict[str, Any]:
        """Return the description of the data set that is part of every result."""
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

    @staticmethod
    def _read(path: Path, unit: DepthUnit) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DepthUnitWarning)  # the unit is known
            depth = read_depth(path, unit)
        if not depth.any():
            raise DepthReadError(f"{path}: no pixel has a depth value")
        return depth


def find(root: Path, candidates: Sequence[str], what: str, advice: str = "") -> Path:
    """Return the first existing path of several candidates.

    Args:
        root: A folder.
        candidates: Paths relative to `root`.
        what: Description of the candidates, for the error message.
        advice: End of the error message.

    Raises:
        HandPoseError: None of them exists; the message lists the candidates and the contents of the folder.
    """
    for candidate in candidates:
        if (root / candidate).exists():
            return root / candidate
    if not root.is_dir():
        raise HandPoseError(f"{root}: no such folder; expected a folder with the {what}{advice}")
    entries = sorted(entry.name + "/" * entry.is_dir() for entry in root.iterdir())
    existing = ", ".join(entries[:8]) + (f" and {len(entries) - 8} more" if len(entries) > 8 else "")
    raise HandPoseError(
        f"{root}: no {what} here; looked for {' or '.join(candidates)}, found {existing or 'nothing'}{advice}"
    )


def read_joints(words: Sequence[str], count: int, path: Path, line: int) -> np.ndarray:
    """Parse the joints (count, 3) in a line of a label file.

    Args:
        words: The words of the line.
        count: Expected number of joints.
        path: The label file, for the error message.
        line: Number of the line, starting at 1.

    Raises:
        HandPoseError: The line does not contain exactly these numbers; the message states the file and the line.
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
    """Return the chosen hand centers (N, 3) in mm, or None to localize them in the images, and their description.

    Args:
        choice: `refined`, `truth` (the mean of the true joints), `localize`, or the path of a file or folder.
        root: Folder of the refined centers.
        files: Possible names of each file of centers; the lines of all files are concatenated.
        xyz: (N, J, 3) true joints, mm.
        y_up: Whether the y axis of the files points up.

    Raises:
        HandPoseError: A file is missing or damaged, or contains another number of centers.

    Warns:
        UserWarning: Many centers are far from the true joints.
    """
    if choice == "localize":
        return None, "localize (found in each image)"
    if choice == "truth":
        return xyz.mean(axis=1), "truth (mean of the true joints)"
    folder = root if choice == "refined" else Path(choice)
    advice = "; see the data set's page in docs for where to get it, or choose the centers truth or localize"
    what = "file of hand centers"
    paths = [folder if folder.is_file() else find(folder, names, what, advice) for names in files]
    centers = np.concatenate([read_centers(path, y_up=y_up) for path in paths])
    names = ", ".join(str(path) for path in paths)
    if len(centers) != len(xyz):
        raise HandPoseError(
            f"{names}: {len(centers)} hand centers, but the labels list {len(xyz)} frames; expected one line for each. "
            "Use the centers of this copy of the data set, or choose truth or localize"
        )
    far = count_far(centers, xyz)
    if far > _FAR_SHARE * len(xyz):
        warn(
            f"{names}: in {far} of {len(xyz)} frames, the hand center is more than {FAR_MM:.0f} mm away from the mean "
            f"of the true joints; centers must be in mm, with y pointing {'up' if y_up else 'down'}, and in the order "
            "of the labels"
        )
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return centers, f"refined ({paths[0].name}{more})" if choice == "refined" else f"given ({paths[0]}{more})"


def count_far(centers: np.ndarray, xyz: np.ndarray) -> int:
    """Return how many hand centers (N, 3) are far from the mean of the labeled joints (N, J, 3), all in mm."""
    labeled = np.isfinite(xyz).all(axis=2)
    sums = np.where(labeled[..., None], xyz, 0.0).sum(axis=1)
    means = sums / np.maximum(labeled.sum(axis=1, keepdims=True), 1)
    apart = np.linalg.norm(centers - means, axis=1)  # NaN without a center
    return int(((apart > FAR_MM) & labeled.any(axis=1)).sum())


def find_damaged(root: Path, files: Sequence[str], centers: np.ndarray | None) -> dict[int, str]:
    """Return the frames without a file or a center, and the reason, by index."""
    damaged: dict[int, str] = {}
    if centers is not None:
        damaged = dict.fromkeys(np.flatnonzero(~np.isfinite(centers).all(axis=1)).tolist(), "no hand center")
    folders: dict[str, set[str]] = {}
    reasons: dict[str, str] = {}
    for i, file in enumerate(files):
        folder, name = os.path.split(file)
        if folder not in folders:  # one listing per folder: checking each of 300,000 files takes minutes
            folders[folder] = set()
            try:
                folders[folder] = {entry.name for entry in os.scandir(root / folder)}
            except (FileNotFoundError, NotADirectoryError, ValueError):  # a missing folder, or an invalid name
                pass
            except OSError as error:
                reasons[folder] = f"its folder cannot be read ({error.strerror})"
        # Some file systems ignore case, or store names in another normalization.
        if name not in folders[folder] and not (folders[folder] and (root / file).is_file()):
            damaged[i] = reasons.get(folder, "no such file")
    return damaged
