"""Your own frames as a data set: depth files, and a JSON Lines file of records as `handpose predict` writes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast, get_args

import numpy as np

from handpose.datasets.dataset import FAR_MM, HandDataset, LabeledFrame, count_far, find, find_damaged
from handpose.datasets.duplicates import image_path, images_in_both, without_duplicates
from handpose.datasets.label_record import PERSON, LabelRecord
from handpose.datasets.splits import split_sequences
from handpose.errors import HandPoseError
from handpose.geometry.camera import Camera
from handpose.geometry.layouts import LAYOUTS, JointLayout
from handpose.io.arguments import check_choice
from handpose.io.choices import Hand, LayoutName, Split
from handpose.io.depth.units import DepthUnit
from handpose.io.inputs import file_of
from handpose.io.text import MAX_LABELS_BYTES, read_text
from handpose.io.warn import warn
from handpose.localization.localizer import localize_hands

_PART_OF_FILE = "it is a frame of a recording or of a file with several frames; write it to a depth file of its own"
_TYPICAL_Z = 500.0  # mm: where joints without a depth are placed if the frame has no joint with a depth


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class RecordDataset(HandDataset):
    """Frames that each have a camera, a hand and labels; any part of a joint's label may be missing.

    Joints without a complete label are NaN in `xyz`. Where `known_centers` is NaN, the hand is localized in the image.

    Attributes:
        path: The file of records.
        layout_name: Name of the joint layout.
        cameras: The N cameras.
        hands: Which hand each frame shows.
        units: Unit of the depth values of each frame.
        uvz: (N, J, 3) true joints in px of the camera and depth in mm; NaN where they are not labeled.
        is_cube_given: (N,) bool, which records state the side of their cube.
        in_mm: (N, J) bool, which joints are labeled in mm, so that their pixels follow from the camera.
        sequences: Name of the sequence that each frame belongs to.
    """

    path: Path
    layout_name: LayoutName
    cameras: Sequence[Camera]
    hands: Sequence[Hand]
    units: Sequence[DepthUnit]
    uvz: np.ndarray
    is_cube_given: np.ndarray
    in_mm: np.ndarray
    sequences: Sequence[str]

    @property
    def origin(self) -> Path:
        """The file that error messages name."""
        return self.path

    @property
    def layout(self) -> JointLayout:
        """The joint layout."""
        return LAYOUTS[self.layout_name]

    def camera_of(self, i: int) -> Camera:
        """Return the camera of the image of frame `i`."""
        return self.cameras[i]

    def __getitem__(self, i: int) -> LabeledFrame:
        """Read the image of frame `i` and return the frame.

        Raises:
            DepthReadError: The image is missing, damaged or empty.
            HandPoseError: The camera does not fit the image, labels in pixels are those of another resolution, or the
                image shows other labeled hands as well and the record has no center.
            IndexError: There is no such frame.
        """
        if not 0 <= i < len(self):
            raise IndexError(f"{self.name} {self.split} has frames 0 to {len(self) - 1}, got {i}")
        depth = self._read(self.root / self.files[i], self.units[i])
        camera = self.cameras[i].for_image(depth.shape[1], depth.shape[0])
        center: np.ndarray | None = None if self.known_centers is None else self.known_centers[i]
        if center is None or not np.isfinite(center).all():
            if i in self.damaged:
                raise HandPoseError(self.damaged[i])
            center = next(iter(localize_hands(depth, camera)), None)
        uvz = self.labels_in(i, camera)
        known = np.isfinite(uvz)
        depths = uvz[known[:, 2], 2]
        typical = depths.mean() if len(depths) else _TYPICAL_Z if center is None else center[2]
        placed = np.where(known, uvz, [camera.cx, camera.cy, typical])
        return LabeledFrame(
            self.files[i],
            depth,
            camera,
            camera.unproject(placed),
            center,
            float(self.cubes[i]),
            self.hands[i],
            None if known.all() else known,
        )

    def labels_in(self, i: int, camera: Camera) -> np.ndarray:
        """Return the labels `uvz` (J, 3) of frame `i` in px of its image, and depth in mm; NaN where they are unknown.

        Args:
            i: Index of the frame.
            camera: Camera of the image, which may have another resolution than that of the record.

        Raises:
            HandPoseError: It has another resolution, and the labels are in pixels of either.
        """
        own = self.cameras[i]
        uvz: np.ndarray = self.uvz[i]
        if not own.width or (own.width, own.height) == (camera.width, camera.height):
            return uvz
        known = np.isfinite(uvz).any(axis=1)
        if (known & ~self.in_mm[i]).any():
            raise HandPoseError(
                f"{self.root / self.files[i]}: has {camera.width:g} x {camera.height:g} px, but the camera of the "
                f"record {own.width:g} x {own.height:g} px, so the pixels of `uvz` are ambiguous; write the camera of "
                "the image into the record"
            )
        scaled: np.ndarray = np.full_like(uvz, np.nan)
        scaled[known] = camera.project(self.xyz[i, known])
        return scaled

    @property
    def _paths(self) -> list[str]:
        """The absolute paths of the depth files, in one spelling."""
        return [image_path(self.path, file) for file in self.files]

    def subset(self, indices: Sequence[int] | np.ndarray) -> RecordDataset:
        """Return a data set of these frames only, with new indices."""
        chosen = [int(i) for i in indices]
        return replace(
            cast(RecordDataset, super().subset(chosen)),
            cameras=[self.cameras[i] for i in chosen],
            hands=[self.hands[i] for i in chosen],
            units=[self.units[i] for i in chosen],
            uvz=self.uvz[chosen],
            is_cube_given=self.is_cube_given[chosen],
            in_mm=self.in_mm[chosen],
            sequences=[self.sequences[i] for i in chosen],
        )

    def hold_out(self, share: float) -> tuple[RecordDataset, RecordDataset]:
        """Split the usable frames into two data sets. If there are several sequences, each is in only one of the two.

        Args:
            share: Share of the frames in the second part.

        Raises:
            HandPoseError: There are fewer than two usable frames.
        """
        frames = self.usable
        if len(frames) < 2:
            raise HandPoseError(
                f"{self.origin}: {len(frames)} of {len(self)} records are usable, which are too few for training"
            )
        paths = self._paths
        kept, held_out = split_sequences([self.sequences[i] for i in frames], [paths[i] for i in frames], share)
        return self.subset(frames[kept]), self.subset(frames[held_out])

    def with_missing_cubes(self, cube: float) -> RecordDataset:
        """Return the data set with this side, mm, for the cubes of records that state none, unless they were chosen."""
        if self.cubes_chosen:
            return self
        cubes = np.where(self.is_cube_given, self.cubes, float(cube))
        return replace(self, cubes=cubes, train_cubes=(float(cubes.min()), float(cubes.max())))

    def localized(self) -> RecordDataset:
        """Localize the hands without a center, and return the data set with all centers; `damaged` lists failures."""
        centers = np.full((len(self), 3), np.nan) if self.known_centers is None else self.known_centers.copy()
        damaged = dict(self.damaged)
        for i in self.usable.tolist():
            if np.isfinite(centers[i]).all():
                continue
            try:
                found = self[i].center
            except HandPoseError as error:
                damaged[i] = str(error)
                continue
            if found is None:
                damaged[i] = "no hand was found; add its center_mm to the record"
            else:
                centers[i] = found
        return replace(self, known_centers=centers, damaged=damaged)


def open_records(
    root: str | Path,
    split: Split,
    *,
    centers: str | Path = "refined",
    test_share: float = 0.0,
) -> RecordDataset:
    """Open records as a data set.

    Args:
        root: A JSON Lines file, or a folder with `train.jsonl` and `test.jsonl`. Each line is a record with `source`
            (path of a depth file, relative to the file of records or to the current folder), `camera`, `layout`, and
            `xyz_mm` or `uvz`, in which null or NaN marks what is not labeled. Optional are `hand` (right), `center_mm`,
            `cube_mm` (that of the model), `unit` of the depth values (mm), `sequence` (the folder of the depth file),
            and `labeled_by` (`person`, or the name of the model whose predictions the labels are). Records without any
            label, such as those of failed or skipped frames, are excluded, and so are duplicates.
        split: `train` or `test`.
        centers: `refined` (the `center_mm` of each record; localized in the image if a record has none), `truth` (the
            mean of the labeled joints) or `localize` (localized in all images).
        test_share: Share of the frames of a single file that belong to the test split; with 0, both splits are the
            complete file. Frames of one sequence are never in both; with a single sequence, its end is the test split.

    Raises:
        HandPoseError: A record is invalid, or two records of the same hand in the same image have different labels;
            the message states the file and the lines. Or the split or the share is invalid.

    Warns:
        UserWarning: The labels are predictions, see `labeled_by`, records are duplicates, images are in both files of a
            folder, hand centers are far from the labels, or the name of a field seems to be misspelled.
    """
    check_choice("split", split, get_args(Split))
    if not 0.0 <= test_share < 1.0:
        raise HandPoseError(f"`test_share=...` must be at least 0 and below 1, got {test_share}")
    path = Path(root)
    if path.is_dir():
        path = find(path, (f"{split}.jsonl",), "records")
    lines = read_text(path, MAX_LABELS_BYTES).splitlines()
    rows = {number: LabelRecord.parse(line, path, number) for number, line in enumerate(lines, 1) if line.strip()}
    found = {number: row for number, row in rows.items() if row is not None}
    labeled = without_duplicates(found, path)
    if not labeled:
        raise HandPoseError(f"{path}: none of the {len(rows)} records has a label")
    layouts = sorted({row.layout for row in labeled})
    if len(layouts) > 1:
        raise HandPoseError(f"{path}: all records must have the same layout, got {' and '.join(layouts)}")
    dataset = _dataset(path, split, labeled, str(centers))
    if predicted := [row.labeled_by for row in labeled if row.labeled_by not in ("", PERSON)]:
        text = f"{len(predicted)} of {len(labeled)} labels are predictions of {' and '.join(sorted(set(predicted)))}"
        warn(
            f"{path}: {text}, not the truth; set `labeled_by` to `{PERSON}` in the "
            "records that you have checked or corrected"
        )
        dataset = replace(dataset, notes=(*dataset.notes, f"{text}, so errors are differences from these predictions"))
    if repeated := len(found) - len(labeled):
        text = f"{repeated} of {len(found)} records are duplicates of others and are excluded"
        warn(f"{path}: {text}")
        dataset = replace(dataset, notes=(*dataset.notes, text))
    if skipped := len(rows) - len(found):
        dataset = replace(dataset, notes=(*dataset.notes, f"excluded because they have no label: {skipped} records"))
    other = path.with_name("test.jsonl" if split == "train" else "train.jsonl")
    if Path(root).is_dir() and other.is_file() and (shared := images_in_both(labeled, path, other)):
        text = f"shared with {other.name}: {shared} of {len(labeled)} records; errors do not hold for new images"
        warn(f"{path}: {text}")
        dataset = replace(dataset, notes=(*dataset.notes, text))
    if test_share > 0.0:
        train, test = split_sequences(dataset.sequences, dataset._paths, test_share)
        dataset = dataset.subset(train if split == "train" else test)
    return dataset


def _of_several_hands(path: Path, files: Sequence[str], centers: np.ndarray) -> dict[int, str]:
    """Return the records without a center (N, 3) of images with several, by index: localization may find another hand.

    Args:
        path: The file of records.
        files: Their depth files.
        centers: Their hand centers in mm; NaN where they are unknown.
    """
    images = [image_path(path, file) for file in files]
    counts = Counter(images)
    reason = "several hands of this image are labeled; add its center_mm to each record"
    return {i: reason for i in np.flatnonzero(np.isnan(centers).any(axis=1)).tolist() if counts[images[i]] > 1}


def _is_part_of_file(frame: Path) -> bool:
    """Return whether a path, which does not exist, names a frame of a file with several."""
    return frame.name.rpartition("#")[2].isdecimal() and file_of(frame).exists()


def _dataset(path: Path, split: Split, rows: Sequence[LabelRecord], centers: str) -> RecordDataset:
    uvz = np.stack([row.uvz for row in rows])
    xyz = np.stack([row.xyz for row in rows])
    given = np.stack([row.center for row in rows])
    if centers == "truth":
        given = np.full_like(given, np.nan)
        counts = np.isfinite(xyz).all(axis=2).sum(axis=1)
        given[counts > 0] = np.nanmean(xyz[counts > 0], axis=1)
        description = "truth (mean of the labeled joints)"
    elif centers == "localize":
        given, description = np.full_like(given, np.nan), "localize (found in each image)"
    elif centers == "refined":
        count = int(np.isfinite(given).all(axis=1).sum())
        if far := count_far(given, xyz):
            warn(
                f"{path}: in {far} of {len(xyz)} records, `center_mm` is more than {FAR_MM:.0f} mm away from the mean "
                "of the labeled joints; it must be in mm in the camera frame with y down"
            )
        description = f"center_mm of {count} of {len(rows)} records" + (
            "" if count == len(rows) else ", found in the images of the others"
        )
    else:
        raise HandPoseError(f"the centers of records must be refined, truth or localize, got {centers!r}")
    partial = int((~np.isfinite(uvz).all(axis=(1, 2))).sum())
    cubes = np.array([row.cube for row in rows])
    files = [row.source for row in rows]
    missing = find_damaged(path.parent, files, None)
    damaged = _of_several_hands(path, files, given) | {
        i: _PART_OF_FILE if _is_part_of_file(path.parent / files[i]) else reason for i, reason in missing.items()
    }
    return RecordDataset(
        "records",
        split,
        path.parent,
        files,
        xyz,
        given,
        description,
        cubes,
        (float(cubes.min()), float(cubes.max())),
        damaged=damaged,
        notes=(f"{partial} of {len(rows)} records are partly labeled",) if partial else (),
        cubes_chosen=all(row.is_cube_given for row in rows),
        path=path,
        layout_name=rows[0].layout,
        cameras=[row.camera for row in rows],
        hands=[row.hand for row in rows],
        units=[row.unit for row in rows],
        uvz=uvz,
        is_cube_given=np.array([row.is_cube_given for row in rows]),
        in_mm=np.stack([row.in_mm for row in rows]),
        sequences=[row.sequence for row in rows],
    )
