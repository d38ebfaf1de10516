"""Result files that survive a crash and can be resumed."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Iterable, Mapping
from io import FileIO
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from handpose.errors import HandPoseError
from handpose.io.atomic import write_all, write_atomically
from handpose.io.inputs import absolute, file_of
from handpose.io.text import describe

WORK_PER_SYNC = 20.0
"""Sync interval as a multiple of the sync time: 20 limits the cost to 5%."""

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)  # of network file systems

_Identity = tuple[int | None, int | None]
_NO_FILE: _Identity = None, None


class GrowingFile:
    """A text file with one or more lines per frame, and a manifest of these frames next to it.

    The lines of a frame are on the disk before the manifest records where they end. After a crash, both files can
    therefore be truncated to the last frame in the manifest.

    Attributes:
        failed: Number of frames in the file whose status is `error`.
    """

    def __init__(self, path: Path, header: str, settings: Mapping[str, Any], *, resume: bool) -> None:
        """Open the file.

        Args:
            path: Text file. The name of the manifest is that of the file followed by `.manifest.jsonl`.
            header: First line of the file, or empty.
            settings: Settings that the results depend on, as JSON types.
            resume: Keep the frames of an existing file, instead of starting over.

        Raises:
            HandPoseError: The existing file was started with other settings, or cannot be resumed.
            OSError: A file cannot be written.
        """
        self._path, self._manifest_path = path, path.with_name(f"{path.name}.manifest.jsonl")
        self._frames: dict[str, tuple[_Identity, str]] = {}
        self._entries: list[str] = []
        self._end = self.failed = 0
        # The same types as those read from the manifest: JSON converts tuples to lists.
        current = json.loads(json.dumps({"settings": settings}))
        self._lock = lock_output(path)
        try:
            self._file = FileIO(path, "a+")
        except OSError:
            self._lock.release()
            raise
        try:
            if resume and self._manifest_path.exists():
                self._manifest_end = self._read_manifest(current["settings"])
            elif resume and path.stat().st_size:
                raise HandPoseError(f"{path}: has no manifest to resume from; pass `force=True` to start over")
            else:
                first = json.dumps(current) + "\n"
                write_atomically(self._manifest_path, first.encode())
                self._manifest_end = len(first)
            self._file.truncate(self._end)
            self._manifest = FileIO(self._manifest_path, "a")
            self._manifest.truncate(self._manifest_end)
        except BaseException:
            self._file.close()
            self._lock.release()
            raise
        self._next_sync = 0.0
        if self._end == 0:
            self._end = _append(self._file, header, 0)
        self._synced_end = self._end

    @property
    def frames(self) -> list[Path]:
        """The absolute paths of the frames in the file when it was opened, in its order."""
        return [Path(frame) for frame in self._frames]

    def status_of(self, frame: Path) -> str | None:
        """Return the status of a frame, or None if the file does not contain it.

        Raises:
            HandPoseError: The file contains it, but the image has changed since, or was deleted.
        """
        identity, status = self._frames.get(str(absolute(frame)), (None, None))
        if identity is not None and identity != (now := _identity(frame)):
            problem = "has changed since its result was written"
            if now == _NO_FILE:
                problem = "no longer exists"
            elif now[0] == identity[0]:
                problem += " (another modification time, the same size)"
            raise HandPoseError(
                f"{frame}: {problem}, but {self._path} contains its result; leave this input out to keep the result, "
                "use another output for it, or pass `force=True` to start over"
            )
        return status

    def write(self, frame: Path, text: str, status: str) -> None:
        """Append the lines of a frame.

        Raises:
            OSError: The lines cannot be written, and the file ends with the previous frame; or the disk lost lines,
                and the file ends with the last frame in the manifest.
        """
        self._end = _append(self._file, text, self._end)
        self.failed += status == "error"
        size, mtime_ns = _identity(frame)
        entry = {"file": str(absolute(frame)), "size": size, "mtime_ns": mtime_ns, "status": status, "end": self._end}
        self._entries.append(json.dumps(entry) + "\n")
        if time.monotonic() > self._next_sync:
            self._sync()

    def close(self) -> None:
        """Write the remaining entries of the manifest and close both files.

        Raises:
            OSError: The last frames may be missing from the manifest.
        """
        try:
            with self._file, self._manifest:
                self._sync()
        finally:
            self._lock.release()

    def _sync(self) -> None:
        start = time.monotonic()
        try:
            os.fsync(self._file.fileno())
        except OSError:
            # The lines since the last sync may be lost, which the next call would not report again.
            self._entries.clear()
            self._end = self._synced_end
            self._file.truncate(self._end)
            raise
        self._synced_end = self._end
        self._manifest_end = _append(self._manifest, "".join(self._entries), self._manifest_end)
        self._entries.clear()
        os.fsync(self._manifest.fileno())
        end = time.monotonic()
        self._next_sync = end + WORK_PER_SYNC * (end - start)

    def _read_manifest(self, settings: dict[str, Any]) -> int:
        """Restore the frames from the manifest, and return where its last complete line ends."""
        size = self._path.stat().st_size
        with self._manifest_path.open("rb") as file:
            entries, end = read_manifest(file, str(self._manifest_path), settings)
        for entry in entries:
            self._frames[entry["file"]] = (entry["size"], entry["mtime_ns"]), entry["status"]
            self.failed += entry["status"] == "error"
            self._end = entry["end"]
        if self._end > size:
            raise HandPoseError(
                f"{self._path}: has {size} bytes, but its manifest records {self._end}; pass `force=True` to start over"
            )
        return end


def read_manifest(lines: Iterable[bytes], name: str, settings: dict[str, Any]) -> tuple[list[dict[str, Any]], int]:
    """Return the entries of a manifest, and the size in bytes of its complete lines. A truncated last line is ignored.

    Args:
        lines: Lines of the manifest: the settings, then entries with `file`, `size`, `mtime_ns`, `status` and `end`.
        name: Name of the manifest in error messages.
        settings: Current settings, as JSON types.

    Raises:
        HandPoseError: The manifest is damaged, or the job was started with other settings.
    """
    entries: list[dict[str, Any]] = []
    size = 0
    for line in lines:
        if not line.endswith(b"\n"):
            break  # truncated: its frame is processed again
        try:
            entry = json.loads(line)
            if size == 0:
                _check_settings(name, entry["settings"], settings)
            else:
                entries.append({key: entry[key] for key in ("file", "size", "mtime_ns", "status", "end")})
        except (ValueError, KeyError, TypeError) as error:
            raise HandPoseError(f"{name}: is damaged ({describe(error)}); pass `force=True` to start over") from None
        size += len(line)
    return entries, size


def _check_settings(name: str, old: dict[str, Any], new: dict[str, Any]) -> None:
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            raise HandPoseError(
                f"{name}: was started with {key} {old.get(key)!r}, not {new.get(key)!r}; use the original settings, "
                "another output, or `force=True` to start over"
            )


def lock_output(path: Path) -> FileLock:
    """Lock an output with a hidden file next to it, so that only one process writes to it.

    Raises:
        HandPoseError: Another process has locked it, or its file system has no locks.
        OSError: The hidden file cannot be written.
    """
    target = path.resolve()  # of all links to the file
    lock = FileLock(target.with_name(f".{target.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise HandPoseError(f"{path}: another process is writing to this file; wait for it or stop it") from None
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
            raise
        raise HandPoseError(
            f"{path}: cannot be locked, because this file system has no locks ({error}); write it to another disk"
        ) from None
    return lock


def _append(file: FileIO, text: str, end: int) -> int:
    """Append `text` after the first `end` bytes and return where it ends. On an error, the file is unchanged."""
    data = text.encode(errors="surrogateescape")  # as Python decodes names of files
    try:
        write_all(file, data)
    except OSError:
        file.truncate(end)
        raise
    return end + len(data)


def _identity(frame: Path) -> _Identity:
    """Return the size and the modification time of a file, or `_NO_FILE`."""
    try:
        status = file_of(frame).stat()
    except OSError:
        return _NO_FILE
    return status.st_size, status.st_mtime_ns
