"""Writing many results to one file: JSON lines, JSON, CSV, npz, or the field's text format."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from handpose.errors import HandPoseError
from handpose.geometry.layouts import JointLayout
from handpose.io.atomic import write_atomically
from handpose.io.resumable import GrowingFile
from handpose.results.pose import HandPose
from handpose.results.uvd import prediction_line

Format = Literal["jsonl", "json", "csv", "npz", "uvd"]

_CSV_COLUMNS = (
    *("source", "status", "model", "layout", "hand", "joint"),
    *("x_mm", "y_mm", "z_mm", "u", "v", "spread_x_mm", "spread_y_mm", "spread_z_mm", "error_mm", "reason"),
)


@dataclass(frozen=True)
class FailedFrame:
    """A frame that has no pose because something is wrong with it.

    Attributes:
        source: the image's path.
        reason: what is wrong, one line.
        layout: of the joints that a pose would have.
    """

    source: str
    reason: str
    layout: JointLayout
    status: Literal["error"] = "error"

    def to_dict(self) -> dict[str, Any]:
        """The record, as JSON's types."""
        return {"source": self.source, "status": self.status, "reason": self.reason}


Record = HandPose | FailedFrame


class RecordWriter(Protocol):
    """Takes records one by one."""

    @property
    def failed(self) -> int:
        """How many records so far are `FailedFrame`s, those of the job that is resumed among them."""
        ...

    def holds(self, frame: Path) -> bool:
        """Whether the job that is resumed has written the frame's record."""
        ...

    def write(self, frame: Path, record: Record) -> None:
        """Adds the record of a depth file."""
        ...

    def close(self) -> None:
        """Completes the output."""
        ...


@contextlib.contextmanager
def open_writer(
    format: Format, path: Path | None, settings: Mapping[str, Any], *, resume: bool = False
) -> Iterator[RecordWriter]:
    """The writer of a format, completed at the end even if what happens in between fails.

    Args:
        format: `jsonl`, `csv` and `uvd` (`u v d` of all joints, a line per record) grow record by record, with a
            manifest beside them; `json` and `npz` are written in the end, all or nothing.
        path: the file; None for stdout, which takes text only and has no manifest.
        settings: what the records depend on: those of a job that is resumed must be the same.
        resume: go on with what is in the file.

    Raises:
        HandPoseError: the output cannot be written, `npz` has no path, or there is nothing that can be resumed.
    """
    if format == "npz" and path is None:
        raise HandPoseError("npz is not text: give it a file with -o")
    if path is not None and path.exists() and not path.is_file():
        raise HandPoseError(f"{path}: is no regular file; without -o results go to stdout")
    if resume and (path is None or format in _WHOLE):
        raise HandPoseError("only jsonl, csv and uvd with -o can be resumed, since the others are written in the end")
    kept = ""
    try:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        writer: RecordWriter
        if format in _WHOLE:
            writer = _Whole(_WHOLE[format], path)
        elif path is None:
            writer = _Stream(*_LINES[format])
        else:
            writer = _Growing(path, *_LINES[format], settings, resume=resume)
            kept = "; the frames written before are kept, go on with --resume"
        with contextlib.closing(writer):
            yield writer
    except BrokenPipeError:
        raise
    except OSError as error:
        raise HandPoseError(f"{path or 'stdout'}: cannot be written ({error}){kept}") from None


class _Stream:
    """To stdout, so that the next program has each record at once."""

    def __init__(self, header: str, lines: Callable[[Record], str]) -> None:
        self._lines, self.failed = lines, 0
        sys.stdout.write(header)

    def holds(self, frame: Path) -> bool:
        return False

    def write(self, frame: Path, record: Record) -> None:
        self.failed += record.status == "error"
        sys.stdout.write(self._lines(record))
        sys.stdout.flush()

    def close(self) -> None:
        sys.stdout.flush()


class _Growing:
    def __init__(
        self, path: Path, header: str, lines: Callable[[Record], str], settings: Mapping[str, Any], *, resume: bool
    ) -> None:
        self._lines, self._file = lines, GrowingFile(path, header, settings, resume=resume)

    @property
    def failed(self) -> int:
        return self._file.failed

    def holds(self, frame: Path) -> bool:
        return self._file.holds(frame)

    def write(self, frame: Path, record: Record) -> None:
        self._file.write(frame, self._lines(record), record.status)

    def close(self) -> None:
        self._file.close()


class _Whole:
    def __init__(self, encode: Callable[[Sequence[Record]], bytes], path: Path | None) -> None:
        self._encode, self._path, self._records, self.failed = encode, path, list[Record](), 0
        if path is not None:
            tempfile.TemporaryFile(dir=path.parent).close()  # what cannot be written in the end should fail now

    def holds(self, frame: Path) -> bool:
        return False

    def write(self, frame: Path, record: Record) -> None:
        self.failed += record.status == "error"
        self._records.append(record)

    def close(self) -> None:
        data = self._encode(self._records)
        if self._path is None:
            sys.stdout.write(data.decode())
        else:
            write_atomically(self._path, data)


def _json_line(record: Record) -> str:
    return json.dumps(record.to_dict()) + "\n"


def _csv_rows(record: Record) -> str:
    """One row per joint, or one with the reason."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if isinstance(record, FailedFrame):
        nothing = [""] * (len(_CSV_COLUMNS) - 3)
        writer.writerow((record.source, record.status, *nothing, record.reason))
        return text.getvalue()
    head = (record.source, record.status, record.model, record.layout.name, record.hand)
    for i, joint in enumerate(record.layout.joints):
        numbers = np.concatenate([record.xyz[i], record.uvz[i, :2], record.spread[i], record.error_mm[i : i + 1]])
        cells = ("" if np.isnan(number) else f"{number:.2f}" for number in numbers)
        writer.writerow((*head, joint, *cells, ""))
    return text.getvalue()


def _uvd_line(record: Record) -> str:
    """As `handpose.results.uvd` reads it: no numbers are `nan`, so that lines stay one per frame."""
    missing = np.full((len(record.layout), 3), np.nan)
    return prediction_line(missing if isinstance(record, FailedFrame) else record.uvz) + "\n"


def _json(records: Sequence[Record]) -> bytes:
    return (json.dumps([record.to_dict() for record in records], indent=1) + "\n").encode()


def _npz(records: Sequence[Record]) -> bytes:
    """Arrays over all N records, named as in the record, and the joints' names (J,)."""
    joints = records[0].layout.joints if records else ()
    nothing = np.full((len(joints), 3), np.nan)

    def column(of: Callable[[HandPose], Any], missing: Any) -> np.ndarray:
        return np.array([missing if isinstance(record, FailedFrame) else of(record) for record in records])

    data = io.BytesIO()
    np.savez_compressed(
        data,
        source=np.array([record.source for record in records]),
        status=np.array([record.status for record in records]),
        reason=np.array([record.reason if isinstance(record, FailedFrame) else "" for record in records]),
        model=column(lambda pose: pose.model, ""),
        layout=np.array([record.layout.name for record in records]),
        hand=column(lambda pose: pose.hand, ""),
        xyz_mm=column(lambda pose: pose.xyz, nothing),
        uvz=column(lambda pose: pose.uvz, nothing),
        spread_mm=column(lambda pose: pose.spread, nothing),
        error_mm=column(lambda pose: pose.error_mm, nothing[:, 0]),
        center_mm=column(lambda pose: pose.center, [np.nan] * 3),
        cube_mm=column(lambda pose: pose.cube, np.nan),
        joints=np.array(joints),
        camera=column(lambda pose: [pose.camera.fx, pose.camera.fy, pose.camera.cx, pose.camera.cy], [np.nan] * 4),
    )
    return data.getvalue()


_LINES: dict[str, tuple[str, Callable[[Record], str]]] = {
    "jsonl": ("", _json_line),
    "csv": (",".join(_CSV_COLUMNS) + "\n", _csv_rows),
    "uvd": ("", _uvd_line),
}
_WHOLE: dict[str, Callable[[Sequence[Record]], bytes]] = {"json": _json, "npz": _npz}
