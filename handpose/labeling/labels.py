"""The file of records that labeling writes: one record per frame."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from handpose.datasets.label_record import PERSON, LabelRecord, resolve_source
from handpose.errors import HandPoseError
from handpose.geometry.layouts import JointLayout
from handpose.io.atomic import write_atomically
from handpose.io.choices import Hand
from handpose.io.outputs import require_folder
from handpose.io.resumable import lock_output
from handpose.io.text import MAX_LABELS_BYTES, read_limited, read_text

State = Literal["new", "unchecked", "accepted", "skipped"]
"""State of a frame: without a record; with labels that no person has checked, such as predictions; or done."""

SKIPPED = "skipped"
"""Value of the field `status` of records of skipped frames, which have no label."""

# Fields of predictions that do not apply to labels.
_PREDICTED = {"status", "model", "hand_index", "spread_mm", "error_mm", "warnings", "keypoints", "picture"}


class StoredLabel(NamedTuple):
    """The label of a frame.

    Attributes:
        hand: Which hand the frame shows.
        uvz: (J, 3) joints in px of the image, and depth in mm; NaN where unknown.
    """

    hand: Hand
    uvz: np.ndarray


class LabelFile:
    """A JSON Lines file with one record per frame, which is replaced atomically on each change.

    Records of frames that are not labeled in this session are kept as they are.

    Attributes:
        path: The file.
    """

    def __init__(self, path: Path, layout: JointLayout) -> None:
        """Open the file, which may not exist yet, and lock it.

        Raises:
            HandPoseError: The file is invalid, has records of another layout or two records of one frame, or is open
                in another process.
        """
        require_folder(path)
        self.path, self._layout = path, layout
        self._lines: dict[Path, str] = {}
        self._labels: dict[Path, StoredLabel] = {}
        self._states: dict[Path, State] = {}
        self._lock = lock_output(path)
        self._content = b""  # of the file as this session knows it
        try:
            if path.exists():
                self._content = read_limited(path, MAX_LABELS_BYTES)
                self._read()
        except BaseException:
            self._lock.release()
            raise

    def close(self) -> None:
        """Unlock the file."""
        self._lock.release()

    def state(self, frame: Path) -> State:
        """Return the state of a frame."""
        return self._states.get(frame.resolve(), "new")

    def label(self, frame: Path) -> StoredLabel | None:
        """Return the label of a frame, if there is one."""
        return self._labels.get(frame.resolve())

    def version(self, frame: Path) -> str:
        """Return a text that changes whenever the record of a frame changes."""
        return hashlib.sha256(self._lines.get(frame.resolve(), "").encode()).hexdigest()

    def accept(self, frame: Path, label: StoredLabel, fields: dict[str, Any]) -> None:
        """Write the record of a labeled frame, in place of its earlier record.

        Args:
            frame: The depth file.
            label: Its label.
            fields: Fields of the record. Other fields of an earlier record, such as `sequence`, are kept.

        Raises:
            HandPoseError: The file cannot be written, or was changed by another program; it is unchanged.
        """
        key = frame.resolve()
        kept = {name: value for name, value in self._fields(key).items() if name not in _PREDICTED}
        self._write(key, kept | {"source": self._source(key)} | fields | {"labeled_by": PERSON})
        self._labels[key], self._states[key] = label, "accepted"

    def skip(self, frame: Path) -> None:
        """Write a record without a label in place of the earlier record of a frame.

        Raises:
            HandPoseError: The file cannot be written, or was changed by another program; it is unchanged.
        """
        key = frame.resolve()
        self._write(key, {"source": self._source(key), "status": SKIPPED, "labeled_by": PERSON})
        self._labels.pop(key, None)
        self._states[key] = "skipped"

    def _read(self) -> None:
        numbers: dict[Path, int] = {}
        for number, line in enumerate(read_text(self.path, MAX_LABELS_BYTES).splitlines(), 1):
            if not line.strip():
                continue
            record = LabelRecord.parse(line, self.path, number)
            values = json.loads(line)
            if "source" not in values:
                raise HandPoseError(f"{self.path}, line {number}: source is missing")
            key = (self.path.parent / resolve_source(str(values["source"]), self.path.parent)).resolve()
            if key in numbers:
                raise HandPoseError(
                    f"{self.path}, lines {numbers[key]} and {number}: two records of {values['source']}; label one "
                    "hand per frame, and write the other hand to another file"
                )
            numbers[key], self._lines[key] = number, line
            by_person = values.get("labeled_by") == PERSON
            if record is not None:
                if record.layout != self._layout.name:
                    raise HandPoseError(
                        f"{self.path}, line {number}: has the layout {record.layout}, and the model "
                        f"{self._layout.name}; pass a model with the same layout, or another file"
                    )
                self._labels[key] = StoredLabel(record.hand, record.uvz)
                self._states[key] = "accepted" if by_person else "unchecked"
            elif by_person and values.get("status") == SKIPPED:
                self._states[key] = "skipped"

    def _fields(self, key: Path) -> dict[str, Any]:
        fields: dict[str, Any] = json.loads(self._lines.get(key, "{}"))
        return fields

    def _source(self, key: Path) -> str:
        """Return the path of a frame below the folder of the file, which can be moved with it, or an absolute path."""
        folder = self.path.resolve().parent
        return key.relative_to(folder).as_posix() if key.is_relative_to(folder) else str(key)

    def _write(self, key: Path, record: dict[str, Any]) -> None:
        lines = self._lines | {key: json.dumps(record)}
        content = "".join(f"{line}\n" for line in lines.values()).encode()
        if self.path.exists() and read_limited(self.path, MAX_LABELS_BYTES) != self._content:
            raise HandPoseError(
                f"{self.path}: was changed by another program since it was read; close and start handpose label again, "
                "so that neither change is lost"
            )
        try:
            write_atomically(self.path, content)
        except OSError as error:
            raise HandPoseError(f"{self.path}: cannot be written ({error.strerror or error})") from None
        self._lines, self._content = lines, content
