"""One line of a file of records: a labeled frame."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from handpose.errors import HandPoseError
from handpose.geometry.camera import Camera
from handpose.geometry.crop import checked_side
from handpose.geometry.layouts import LAYOUTS
from handpose.io.arguments import check_choice
from handpose.io.choices import Hand, LayoutName
from handpose.io.depth.units import DepthUnit, parse_unit
from handpose.io.text import describe
from handpose.io.warn import warn

CUBE = 250.0
"""Side of the cube, mm, of records without `cube_mm`."""

PERSON = "person"
"""Value of the field `labeled_by` of records whose labels a person made, or checked in the image."""

_LABELS = ("xyz_mm", "uvz")
_FIELDS = (
    *("source", "camera", "layout", *_LABELS, "hand", "center_mm", "cube_mm", "unit", "sequence", "labeled_by"),
    *("model", "joints", "hand_index"),
)
# What `handpose predict` writes beside these.
_OTHER_FIELDS = {"status", "spread_mm", "error_mm", "warnings", "time_s", "picture", "reason", "keypoints"}
_LIKELY = 0.65  # similarity of a misspelled name to the right one

_MAX_DISAGREEMENT = 5.0  # px, or mm in depth, between the two positions of a joint in one record


@dataclass(frozen=True, eq=False)
class LabelRecord:
    """The record of a labeled frame.

    Attributes:
        source: Path of the depth file, relative to the file of records or absolute.
        sequence: Name of the sequence that the frame belongs to.
        layout: Name of the joint layout.
        camera: Camera of the image.
        hand: Which hand the frame shows.
        unit: Unit of the depth values.
        xyz: (J, 3) labels in mm, camera frame; NaN where a joint is not completely labeled.
        uvz: (J, 3) labels in px and depth in mm; NaN where they are unknown.
        in_mm: (J,) bool, which joints are labeled in mm.
        center: (3,) hand center, mm; NaN if it is unknown.
        cube: Side of the cube, mm.
        is_cube_given: Whether the record states it.
        hand_index: Index of the hand among those in the image.
        labeled_by: `PERSON`, the name of the weights that predicted the labels, or empty if it is unknown.
    """

    source: str
    sequence: str
    layout: LayoutName
    camera: Camera
    hand: Hand
    unit: DepthUnit
    xyz: np.ndarray
    uvz: np.ndarray
    in_mm: np.ndarray
    center: np.ndarray
    cube: float
    is_cube_given: bool
    hand_index: int
    labeled_by: str

    @classmethod
    def parse(cls, line: str, path: Path, number: int) -> LabelRecord | None:
        """Parse a line, or return None if it has no label.

        Args:
            line: The line.
            path: The file of records.
            number: Number of the line, starting at 1.

        Raises:
            HandPoseError: The record is invalid; the message states the file and the line.

        Warns:
            UserWarning: The name of a field seems to be misspelled.
        """
        try:
            values = json.loads(line)
            if not isinstance(values, dict):
                raise ValueError("expected an object")
            _warn_of_misspellings(values, path)
            if values.get("xyz_mm") is None and values.get("uvz") is None:
                return None
            return cls._from_values(values, path.parent)
        except (HandPoseError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise HandPoseError(f"{path}, line {number}: not a record of a labeled frame ({describe(error)})") from None

    @classmethod
    def _from_values(cls, values: dict[str, Any], folder: Path) -> LabelRecord | None:
        layout, hand = values["layout"], values.get("hand", "right")
        if layout not in LAYOUTS:
            raise HandPoseError(f"layout must be one of {', '.join(LAYOUTS)}, got {layout!r}")
        check_choice("hand", hand, get_args(Hand))
        joints = LAYOUTS[layout].joints
        if (names := values.get("joints")) is not None and tuple(names) != joints:
            raise HandPoseError(f"the joints of {layout} are {', '.join(joints)}, in this order")
        camera = Camera.from_dict(values["camera"])
        xyz, uvz = _joints(values.get("xyz_mm"), len(joints)), _joints(values.get("uvz"), len(joints))
        xyz[~np.isfinite(xyz).all(axis=1)] = np.nan
        # Many tools write zeros for an unknown joint, or for an unknown depth.
        uvz[(uvz == 0).all(axis=1)] = np.nan
        uvz[~(uvz[:, 2] > 0), 2] = np.nan
        in_mm = np.isfinite(xyz).all(axis=1)
        if (in_mm & (xyz[:, 2] <= 0)).any():
            raise HandPoseError(
                "the z of xyz_mm must be above 0: x points right, y down and z away from the camera, in mm"
            )
        projected = np.full_like(xyz, np.nan)
        projected[in_mm] = camera.project(xyz[in_mm])
        off = np.linalg.norm((projected - uvz)[:, :2], axis=1)
        if (off > _MAX_DISAGREEMENT).any():
            raise HandPoseError(
                f"xyz_mm and uvz of {joints[int(np.nanargmax(off))]} are {np.nanmax(off):.0f} px apart in the image; "
                "correct or remove one of them"
            )
        uvz[~np.isfinite(uvz[:, :2]).all(axis=1)] = np.nan
        behind = np.abs(projected[:, 2] - uvz[:, 2])
        if (behind > _MAX_DISAGREEMENT).any():
            raise HandPoseError(
                f"xyz_mm and uvz of {joints[int(np.nanargmax(behind))]} are {np.nanmax(behind):.0f} mm apart in depth; "
                "correct or remove one of them"
            )
        complete = np.isfinite(uvz).all(axis=1) & ~in_mm
        uvz[in_mm] = projected[in_mm]
        xyz[complete] = camera.unproject(uvz[complete])
        if not np.isfinite(uvz).any():
            return None
        center = np.full(3, np.nan)
        if values.get("center_mm") is not None:
            center = _numbers(values["center_mm"], (3,))
        source = resolve_source(str(values["source"]), folder)
        sequence, cube = values.get("sequence"), values.get("cube_mm")
        return cls(
            source,
            str(Path(source).parent if sequence is None else sequence),
            layout,
            camera,
            hand,
            parse_unit(str(values.get("unit") or "mm")),
            xyz,
            uvz,
            in_mm,
            center,
            checked_side(cube) if cube else CUBE,
            bool(cube),
            int(values.get("hand_index") or 0),
            str(values.get("labeled_by") or values.get("model") or ""),
        )


def _warn_of_misspellings(values: dict[str, Any], path: Path) -> None:
    """Warn about unknown fields whose names are similar to those of fields that the record lacks."""
    missing = [name for name in _FIELDS if name not in values]
    if any(label in values for label in _LABELS):
        missing = [name for name in missing if name not in _LABELS]  # one of the two is enough
    for name in values:
        if name not in _FIELDS and name not in _OTHER_FIELDS:
            for likely in difflib.get_close_matches(name, missing, 1, _LIKELY):
                warn(f"{path}: the field `{name}` is unknown and is ignored; its name is probably `{likely}`")


def resolve_source(source: str, folder: Path) -> str:
    """Return the path of a record's depth file, relative to the folder of the file of records or absolute.

    `handpose predict` writes paths as it was given them, relative to the current folder.
    """
    if Path(source).is_absolute() or folder.absolute() == Path.cwd():
        return source  # the two are the same, and checking each of many files takes minutes
    if not (folder / source).exists() and Path(source).exists():
        return str(Path(source).resolve())
    return source


def _joints(values: Any, count: int) -> np.ndarray:
    """Return joints (count, 3); NaN where they are null or missing."""
    if values is None:
        return np.full((count, 3), np.nan)
    return _numbers([[None] * 3 if joint is None else joint for joint in values], (count, 3))


def _numbers(values: Any, shape: tuple[int, ...]) -> np.ndarray:
    array = np.array(values, dtype=np.float64)
    if array.shape != shape:
        raise HandPoseError(f"expected an array of shape {shape}, got {array.shape}")
    array[~np.isfinite(array)] = np.nan
    return array
