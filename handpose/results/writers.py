"""Writing many results to one file: JSON lines, JSON, CSV, npz, or the field's text format."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from handpose.choices import Format
from handpose.errors import HandPoseError
from handpose.io.atomic import write_atomically
from handpose.io.resumable import GrowingFile
from handpose.results.formats import LINES, WHOLE
from handpose.results.records import Record


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
    if resume and (path is None or format in WHOLE):
        raise HandPoseError("only jsonl, csv and uvd with -o can be resumed, since the others are written in the end")
    kept = ""
    try:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        writer: RecordWriter
        if format in WHOLE:
            writer = _Whole(WHOLE[format], path)
        elif path is None:
            writer = _Stream(*LINES[format])
        else:
            writer = _Growing(path, *LINES[format], settings, resume=resume)
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
