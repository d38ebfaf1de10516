"""A labeling session: the frames, the predictions that labels start from, and the records that are written."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from handpose.errors import HandPoseError
from handpose.geometry.camera import Camera
from handpose.inference.estimator import HandPoseEstimator
from handpose.inference.query import Query
from handpose.io.choices import Hand, HandOrAuto
from handpose.io.depth.read import read_depth
from handpose.io.warn import Note, collect_warnings
from handpose.labeling.labels import LabelFile, StoredLabel
from handpose.results.overlay import joint_colors

_REACH_MM = 8.0  # distance from a joint within which the surface of the hand is searched
_RAY_STEP = 16  # px between the rays that are sent to the page
_POINT = 5  # px, side of the window whose median is the depth at a point


class LabelingSession:
    """What the page asks for. Several threads may call it.

    Attributes:
        files: The depth files.
        labels: The file of records.
    """

    def __init__(self, files: Sequence[Path], labels: LabelFile, estimator: HandPoseEstimator, query: Query) -> None:
        """Start a session.

        Args:
            files: The depth files.
            labels: The file of records, with the layout of the estimator.
            estimator: Predicts the joints that labels start from.
            query: Camera, unit and hand of all frames.
        """
        self.files, self.labels = files, labels
        self._estimator, self._query = estimator, query
        self._cubes: dict[int, tuple[np.ndarray, float]] = {}  # center and side of each predicted frame's cube
        self._predicting, self._writing = threading.Lock(), threading.Lock()

    def overview(self) -> dict[str, Any]:
        """Return, as JSON types, what concerns all frames."""
        layout = self._estimator.layout
        return {
            "output": str(self.labels.path),
            "layout": layout.name,
            "joints": layout.joints,
            "parents": layout.parents,
            "colors": [f"rgb({red},{green},{blue})" for blue, green, red in joint_colors(layout)],
            "hand": self._query.hand,
            "frames": [{"source": str(file), "state": self.labels.state(file)} for file in self.files],
        }

    def depth(self, index: int) -> np.ndarray:
        """Return the depth image (H, W) in mm of a frame, 0 = missing.

        Raises:
            HandPoseError: There is no such frame, or it cannot be read.
        """
        self._check(index)
        with collect_warnings([]):  # `frame` returns them
            return self._read(index)

    def frame(self, index: int, hand: HandOrAuto, point: tuple[float, float] | None = None) -> dict[str, Any]:
        """Predict a frame, and return what the page needs to label it, as JSON types.

        If the frame cannot be read or predicted, the result is its `source` and the `error`.

        Args:
            index: Index of the frame.
            hand: Which hand it shows; `auto` is that of its label, or predicted.
            point: A pixel on the hand, if it is not localized well.

        Raises:
            HandPoseError: There is no such frame.
        """
        self._check(index)
        try:
            return self._predict(index, hand, point)
        except HandPoseError as error:
            return {"source": str(self.files[index]), "error": str(error)}

    def _predict(self, index: int, hand: HandOrAuto, point: tuple[float, float] | None) -> dict[str, Any]:
        notes: list[Note] = []
        version = self.labels.version(self.files[index])  # before the label, which may change meanwhile
        stored = self.labels.label(self.files[index])
        if hand == "auto" and stored is not None:
            hand = stored.hand
        with self._predicting, collect_warnings(notes):
            depth = self._read(index)
            query = replace(self._query, hand=hand)
            camera = query.camera_for(depth)
            center = None if point is None else _surface_point(depth, camera, *point)
            pose = self._estimator.predict(depth, camera=self._query.camera, center=center, hand=hand)
        found = pose.status != "no_hand"
        if found:
            self._cubes[index] = pose.center, pose.cube
        middle = pose.center if found else _middle(stored, camera)
        height, width = depth.shape
        return {
            "source": str(self.files[index]),
            "version": version,
            "width": width,
            "height": height,
            "rays": _rays(camera, width, height),
            "center": None if middle is None else middle.tolist(),
            "cube": pose.cube,
            "reach": max(1.0, _REACH_MM * camera.fx / (500.0 if middle is None else middle[2])),
            "hand": pose.hand if found else "right" if hand == "auto" else hand,
            "uvz": pose.uvz.tolist() if found else None,
            "errors": np.nan_to_num(pose.error_mm).tolist() if found else None,
            "label": None if stored is None else {"hand": stored.hand, "uvz": _rows(stored.uvz)},
            "state": self.labels.state(self.files[index]),
            "notes": list(dict.fromkeys(note.message for note in notes)),
        }

    def accept(self, index: int, source: str, hand: Hand, uvz: np.ndarray, version: str | None = None) -> str:
        """Write the label of a frame, and return its new version.

        Args:
            index: Index of the frame.
            source: Its path, because an open page may be that of an earlier session with other frames.
            hand: Which hand it shows.
            uvz: (J, 3) joints in px, and depth in mm; NaN where unknown.
            version: Version of the record that `frame` returned; None replaces any record.

        Raises:
            HandPoseError: The label is invalid, the frame is another one or was labeled or skipped in another window
                since, or the file cannot be written.
        """
        file = self._file(index, source)
        layout = self._estimator.layout
        if uvz.shape != (len(layout), 3):
            raise HandPoseError(f"expected {len(layout)} joints, got an array of shape {uvz.shape}")
        uvz = np.where(np.isfinite(uvz[:, :2]).all(axis=1)[:, None], uvz, np.nan)
        if np.isnan(uvz).all():
            raise HandPoseError("no joint is known; skip the frame instead")
        if (uvz[:, 2] <= 0).any():
            raise HandPoseError("depths must be above 0 mm")
        with self._writing, collect_warnings([]):
            self._check_version(file, version)
            camera = self._query.camera_for(self._read(index))
            xyz = camera.unproject(uvz)
            fields: dict[str, Any] = {
                "layout": layout.name,
                "hand": hand,
                "joints": list(layout.joints),
                "xyz_mm": _rows(xyz.round(2)),
                "uvz": _rows(uvz.round(2)),
                **self._cube(index, xyz),
                "camera": camera.to_dict(),
                "unit": self._query.unit,
            }
            self.labels.accept(file, StoredLabel(hand, uvz), fields)
            return self.labels.version(file)

    def skip(self, index: int, source: str, version: str | None = None) -> str:
        """Write that a frame was skipped, and return its new version. For the arguments and errors, see `accept`."""
        file = self._file(index, source)
        with self._writing:
            self._check_version(file, version)
            self.labels.skip(file)
            return self.labels.version(file)

    def _check_version(self, file: Path, version: str | None) -> None:
        if version is not None and version != self.labels.version(file):
            raise HandPoseError("this frame was labeled or skipped in another window since; reload the page")

    def _check(self, index: int) -> None:
        if not 0 <= index < len(self.files):
            raise HandPoseError(f"expected a frame between 0 and {len(self.files) - 1}, got {index}")

    def _file(self, index: int, source: str) -> Path:
        if not 0 <= index < len(self.files) or str(self.files[index]) != source:
            raise HandPoseError(f"{source} is not a frame of this session; reload the page")
        return self.files[index]

    def _read(self, index: int) -> np.ndarray:
        return read_depth(self.files[index], self._query.unit)

    def _cube(self, index: int, xyz: np.ndarray) -> dict[str, Any]:
        """Return the predicted cube if it contains the labeled joints; otherwise, the hand was localized wrongly."""
        if index not in self._cubes:
            return {}
        center, side = self._cubes[index]
        known = xyz[np.isfinite(xyz).all(axis=1)]
        if len(known) and (np.abs(known - center) > side / 2).any():
            center = known.mean(axis=0)
        return {"center_mm": center.round(2).tolist(), "cube_mm": side}


def _surface_point(depth: np.ndarray, camera: Camera, u: float, v: float) -> np.ndarray:
    """Return the point (3,) in mm of the surface at a pixel."""
    column, row = round(u), round(v)
    around = depth[
        max(0, row - _POINT // 2) : max(0, row + _POINT // 2 + 1),
        max(0, column - _POINT // 2) : max(0, column + _POINT // 2 + 1),
    ]
    around = around[around > 0]
    if not around.size:
        raise HandPoseError("there is no depth value at this point")
    return camera.unproject(np.array([u, v, float(np.median(around))]))


def _middle(label: StoredLabel | None, camera: Camera) -> np.ndarray | None:
    """Return the mean (3,) of the joints of a label in mm, if any is complete."""
    known = np.empty((0, 3)) if label is None else label.uvz[np.isfinite(label.uvz).all(axis=1)]
    return camera.unproject(known).mean(axis=0) if len(known) else None


def _rays(camera: Camera, width: int, height: int) -> dict[str, Any]:
    """Return x/z and y/z of a grid of pixels. Interpolation between them is exact for lenses without distortion."""
    columns, rows = (max(2, math.ceil((size - 1) / _RAY_STEP) + 1) for size in (width, height))
    v, u = np.mgrid[:rows, :columns] * _RAY_STEP
    x, y, _ = np.moveaxis(camera.unproject(np.stack([u, v, np.ones_like(u)], axis=-1)), -1, 0)
    return {"step": _RAY_STEP, "columns": columns, "rows": rows, "x": x.ravel().tolist(), "y": y.ravel().tolist()}


def _rows(joints: np.ndarray) -> list[list[float | None] | None]:
    """Return joints (J, 3) as JSON types: null for unknown joints and for unknown depths."""
    return [None if math.isnan(x) else [x, y, None if math.isnan(z) else z] for x, y, z in joints.tolist()]
