"""Files that survive a crash: replaced as a whole, or grown by whole frames."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Mapping
from functools import lru_cache
from io import FileIO
from pathlib import Path
from typing import Any

from handpose.errors import HandPoseError
from handpose.io.atomic import write_all, write_atomically

if sys.platform != "win32":
    import fcntl

WORK_PER_SYNC = 20.0
"""How many times as long as it takes to sync one may work before the next: 5 % for safety."""


class GrowingFile:
    """A text file with lines for each frame, and beside it the manifest of the frames it holds.

    A frame's lines are on the disk before the manifest says where they end, so that after a crash at any moment both
    files can be cut back to the last frame that the manifest names. Nothing is held in memory for frames written.

    Attributes:
        failed: frames it holds whose status is `error`.
    """

    def __init__(self, path: Path, header: str, settings: Mapping[str, Any], *, resume: bool) -> None:
        """Opens it, empty but for the header or, to resume, with what was finished.

        Args:
            path: the file; the manifest is `path` with `.manifest.jsonl` behind.
            header: the file's first line, or nothing.
            settings: what the results depend on, as JSON's types.
            resume: go on with what is there, if anything is.

        Raises:
            HandPoseError: what is there was begun with other settings, or cannot be gone on with.
            OSError: a file cannot be written.
        """
        self._path, self._manifest_path = path, path.with_name(f"{path.name}.manifest.jsonl")
        self._held: dict[str, tuple[int | None, int | None]] = {}
        self._entries: list[str] = []
        self._end = self.failed = 0
        # A settings value reads back as JSON gives it: tuples are lists.
        wanted = json.loads(json.dumps({"settings": settings}))
        self._file = FileIO(path, "a+")
        try:
            self._lock()
            if resume and self._manifest_path.exists():
                self._manifest_end = self._read_manifest(wanted)
            elif resume and path.stat().st_size:
                raise HandPoseError(f"{path}: has no manifest to resume from; give --force to start again")
            else:
                first = json.dumps(wanted) + "\n"
                write_atomically(self._manifest_path, first.encode())
                self._manifest_end = len(first)
            self._file.truncate(self._end)
            self._manifest = FileIO(self._manifest_path, "a")
            self._manifest.truncate(self._manifest_end)
        except BaseException:
            self._file.close()
            raise
        self._next_sync = 0.0
        if self._end == 0:
            self._end = _append(self._file, header, 0)

    def holds(self, frame: Path) -> bool:
        """Whether the frame was finished before.

        Raises:
            HandPoseError: it was, but its file is not the same any more.
        """
        key = _key(frame)
        if key in self._held and self._held[key] != _identity(frame):
            raise HandPoseError(
                f"{frame}: has changed since its result was written to {self._path}; give --force to start again"
            )
        return key in self._held

    def write(self, frame: Path, text: str, status: str) -> None:
        """Adds a frame's lines.

        Raises:
            OSError: they cannot be written; the file ends with the frame before.
        """
        self._end = _append(self._file, text, self._end)
        self.failed += status == "error"
        size, mtime_ns = _identity(frame)
        entry = {"file": _key(frame), "size": size, "mtime_ns": mtime_ns, "status": status, "end": self._end}
        self._entries.append(json.dumps(entry) + "\n")
        if time.monotonic() > self._next_sync:
            self._sync()

    def close(self) -> None:
        """Completes both files.

        Raises:
            OSError: the last frames may not be in the manifest.
        """
        with self._file, self._manifest:
            self._sync()

    def _sync(self) -> None:
        start = time.monotonic()
        os.fsync(self._file.fileno())
        self._manifest_end = _append(self._manifest, "".join(self._entries), self._manifest_end)
        os.fsync(self._manifest.fileno())
        self._entries.clear()
        end = time.monotonic()
        self._next_sync = end + WORK_PER_SYNC * (end - start)

    def _lock(self) -> None:
        if sys.platform != "win32":  # there, two jobs with one output are not noticed
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise HandPoseError(f"{self._path}: another process is writing to it; wait for it or stop it") from None

    def _read_manifest(self, wanted: dict[str, Any]) -> int:
        """Takes over what the manifest says; returns where its last whole line ends."""
        size = self._path.stat().st_size
        with self._manifest_path.open("rb") as file:
            entries, whole = read_manifest(file, str(self._manifest_path), wanted["settings"])
        for entry in entries:
            self._held[entry["file"]] = entry["size"], entry["mtime_ns"]
            self.failed += entry["status"] == "error"
            self._end = entry["end"]
        if self._end > size:
            raise HandPoseError(
                f"{self._path}: has {size} bytes, but its manifest knows of {self._end}; give --force to start again"
            )
        return whole


def read_manifest(lines: Iterable[bytes], name: str, wanted: dict[str, Any]) -> tuple[list[dict[str, Any]], int]:
    """What a manifest says is finished, and how many bytes its whole lines have; a torn last line does not count.

    Args:
        lines: of the manifest: the settings, then an entry of `file`, `size`, `mtime_ns`, `status` and `end` each.
        name: what the manifest is called.
        wanted: today's settings, as JSON's types.

    Raises:
        HandPoseError: it is damaged, or what it tells of was begun with other settings.
    """
    entries: list[dict[str, Any]] = []
    whole = 0
    for line in lines:
        if not line.endswith(b"\n"):
            break  # torn: what it would name is done again
        try:
            entry = json.loads(line)
            if whole == 0:
                _check_settings(name, entry["settings"], wanted)
            else:
                entries.append({key: entry[key] for key in ("file", "size", "mtime_ns", "status", "end")})
        except (ValueError, KeyError, TypeError) as error:
            raise HandPoseError(f"{name}: is damaged ({error!r}); give --force to start again") from None
        whole += len(line)
    return entries, whole


def _check_settings(name: str, old: dict[str, Any], new: dict[str, Any]) -> None:
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            raise HandPoseError(
                f"{name}: was begun with {key} {old.get(key)!r}, now it is {new.get(key)!r}; give what it "
                "was begun with, another output, or --force to start again"
            )


def _append(file: FileIO, text: str, end: int) -> int:
    """Writes `text` after the first `end` bytes, all of it or nothing, and returns where it ends."""
    data = text.encode(errors="surrogateescape")  # as the names of files are
    try:
        write_all(file, data)
    except OSError:
        file.truncate(end)
        raise
    return end + len(data)


@lru_cache(maxsize=64)
def _folder(path: Path) -> Path:
    return path.resolve()


def _key(frame: Path) -> str:
    return str(_folder(frame.parent) / frame.name)


def _identity(frame: Path) -> tuple[int | None, int | None]:
    """Size and time of change; nothing for a file that is not there."""
    try:
        status = frame.stat()
    except OSError:
        return None, None
    return status.st_size, status.st_mtime_ns
