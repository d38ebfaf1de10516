"""Writes the records of many frames to one file or to stdout."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from handpose.errors import HandPoseError
from handpose.io.atomic import write_atomically
from handpose.io.choices import Format
from handpose.io.extras import require_extra
from handpose.io.resumable import GrowingFile, lock_output
from handpose.results.formats import FILES, LINES
from handpose.results.records import Record
from handpose.results.table import encode_parquet, to_table

_BINARY = ("npz", "parquet", "mcap")
_FILES: dict[str, Callable[[Sequence[Record]], bytes]] = {
    **FILES,
    "parquet": lambda records: encode_parquet(to_table(records)),
}


class RecordWriter(Protocol):
    """Writes records one by one."""

    @property
    def failed(self) -> int:
        """Number of failed frames in the output so far, including those of other inputs in a resumed file."""
        ...

    @property
    def frames(self) -> Sequence[Path]:
        """The absolute paths of the frames in the resumed file, in its order."""
        ...

    def status_of(self, frame: Path) -> str | None:
        """Return the status of a frame in the resumed file, or None if it does not contain the frame."""
        ...

    def write(self, frame: Path, records: Sequence[Record]) -> None:
        """Add the records of a depth file: one per hand, or a single one without a hand or after an error."""
        ...

    def close(self) -> None:
        """Complete the output."""
        ...


@contextlib.contextmanager
def open_writer(
    format: Format | None, path: Path | None, settings: Mapping[str, Any], *, resume: bool = False
) -> Iterator[RecordWriter]:
    """Open a writer, and complete its output on exit, even after an error.

    Args:
        format: `jsonl`, `csv` and `uvd` files grow record by record, with a manifest next to them; `json`, `npz`,
            `parquet` and `mcap` files are written atomically at the end. None only counts the records.
        path: Output file, or None for stdout, which only supports text and has no manifest.
        settings: Settings that the records depend on; a resumed job must have the same.
        resume: Whether to continue an existing file.

    Raises:
        HandPoseError: the output cannot be written, a binary format has no path, the extra
            `table` for `parquet` is not installed, or the file cannot be resumed.
    """
    if format in _BINARY and path is None:
        raise HandPoseError(f"{format} is a binary format; pass an output file with `output=...`")
    if format == "parquet":
        require_extra("table", "writing Parquet")
    if path is not None and path.exists() and not path.is_file():
        raise HandPoseError(f"{path}: is not a regular file; omit `output=...` to write to stdout")
    if resume and (path is None or format in _FILES):
        raise HandPoseError(
            "only jsonl, csv and uvd files can be resumed, because the other formats are written at the end"
        )
    advice = ""
    try:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        writer: RecordWriter
        if format is None:
            writer = _Counter()
        elif format in _FILES:
            writer = _AtomicWriter(_FILES[format], path)
        elif path is None:
            writer = _StdoutWriter(*LINES[format])
        else:
            writer = _GrowingWriter(path, *LINES[format], settings, resume=resume)
            advice = "; the records written so far are kept: pass `resume=True` to continue"
        with contextlib.closing(writer):
            yield writer
    except BrokenPipeError:
        raise
    except OSError as error:
        raise HandPoseError(f"{path or 'stdout'}: cannot be written ({error}){advice}") from None


class _Counter:
    """Counts the failed records, and writes nothing."""

    frames: Sequence[Path] = ()

    def __init__(self) -> None:
        self.failed = 0

    def status_of(self, frame: Path) -> str | None:
        return None

    def write(self, frame: Path, records: Sequence[Record]) -> None:
        self.failed += records[0].status == "error"

    def close(self) -> None:
        pass


class _StdoutWriter(_Counter):
    """Writes to stdout and flushes after each frame, so that a pipe receives it immediately."""

    def __init__(self, header: str, lines: Callable[[Record], str]) -> None:
        super().__init__()
        self._lines = lines
        sys.stdout.write(header)

    def write(self, frame: Path, records: Sequence[Record]) -> None:
        super().write(frame, records)
        sys.stdout.write("".join(map(self._lines, records)))
        sys.stdout.flush()

    def close(self) -> None:
        sys.stdout.flush()


class _GrowingWriter:
    def __init__(
        self, path: Path, header: str, lines: Callable[[Record], str], settings: Mapping[str, Any], *, resume: bool
    ) -> None:
        self._lines, self._file = lines, GrowingFile(path, header, settings, resume=resume)

    @property
    def failed(self) -> int:
        return self._file.failed

    @property
    def frames(self) -> Sequence[Path]:
        return self._file.frames

    def status_of(self, frame: Path) -> str | None:
        return self._file.status_of(frame)

    def write(self, frame: Path, records: Sequence[Record]) -> None:
        self._file.write(frame, "".join(map(self._lines, records)), records[0].status)

    def close(self) -> None:
        self._file.close()


class _AtomicWriter(_Counter):
    def __init__(self, encode: Callable[[Sequence[Record]], bytes], path: Path | None) -> None:
        super().__init__()
        self._encode, self._path, self._records = encode, path, list[Record]()
        self._lock = None if path is None else lock_output(path)  # which fails now if the folder is not writable

    def write(self, frame: Path, records: Sequence[Record]) -> None:
        super().write(frame, records)
        self._records += records

    def close(self) -> None:
        try:
            data = self._encode(self._records)
            if self._path is None:
                sys.stdout.write(data.decode())
            else:
                write_atomically(self._path, data)
        finally:
            if self._lock is not None:
                self._lock.release()
