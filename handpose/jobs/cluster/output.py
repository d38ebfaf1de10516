"""The output of a cluster job: a folder of Parquet files on any file system, and a manifest of completed shards."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import fsspec

from handpose.errors import HandPoseError
from handpose.io.atomic import write_atomically
from handpose.io.resumable import WORK_PER_SYNC, read_manifest
from handpose.jobs.cluster.shards import Shard

MANIFEST = "_manifest.jsonl"
"""Name of the manifest; readers of Parquet folders skip names that start with `_`."""

_OWN = re.compile(rf"{re.escape(MANIFEST)}|part-[0-9a-f]{{16}}-\d{{5,}}\.parquet")


class ShardedOutput:
    """A folder with the Parquet files of each shard, and the manifest of the completed shards.

    The names of a shard's files depend only on the shard, so that predicting it again overwrites them.

    Attributes:
        rows: Rows of the completed shards, including those of the job that was resumed.
        failed: Number of these rows that are errors.
    """

    def __init__(
        self, folder: str, settings: Mapping[str, Any], shards: Sequence[Shard], *, resume: bool, force: bool
    ) -> None:
        """Open the output, either empty or with the completed shards of the job to resume.

        Args:
            folder: Path or fsspec URL.
            settings: All settings that affect the records, as JSON values.
            shards: All shards of the job.
            resume: Keep the completed shards of an interrupted job, if there are any.
            force: Remove existing results.

        Raises:
            HandPoseError: The folder already contains results, the job cannot be resumed, or the folder cannot be
                written.
        """
        self._folder = folder.rstrip("/") if "://" in folder else str(Path(folder).absolute())
        self._store, self._path = _store(folder)
        self._lines = [json.dumps({"settings": settings}) + "\n"]
        self._done: set[str] = set()
        self.rows = self.failed = 0
        self._next_sync = 0.0
        try:
            if self._store.isfile(self._path):
                raise HandPoseError(f"{folder}: is a file; expected a folder, or the name of a new one")
            existing = [path for path in self._list() if _is_result(path)]
            if others := [path for path in existing if not _OWN.fullmatch(path.rpartition("/")[2])]:
                raise HandPoseError(
                    f"{folder}: contains Parquet files of another program, such as {others[0].rpartition('/')[2]}; use "
                    "another folder"
                )
            if existing and force:
                self._store.rm(existing)
            elif existing and not resume:
                raise HandPoseError(
                    f"{folder}: already contains results; pass `resume=True` to continue or `force=True` to overwrite "
                    "them"
                )
            elif existing:
                self._read_manifest(shards)
                # An incomplete shard may have fewer parts this time, so the old ones would duplicate rows.
                parts = [path for path in existing if not path.endswith(MANIFEST)]
                incomplete = [path for path in parts if _digest(path) not in self._done]
                if incomplete:
                    self._store.rm(incomplete)
            self._sync()
        except HandPoseError:
            raise
        except Exception as error:  # each file system raises its own types
            raise HandPoseError(f"{folder}: cannot be used ({type(error).__name__}: {error})") from None

    def contains(self, shard: Shard) -> bool:
        """Return whether the job that is resumed has completed a shard."""
        return shard.digest in self._done

    def stem(self, shard: Shard) -> str:
        """Return the common start of the paths or URLs of a shard's parts."""
        return f"{self._folder}/part-{shard.digest}"

    def finish(self, shard: Shard, rows: int, failed: int) -> None:
        """Record that all parts of a shard are written.

        Raises:
            HandPoseError: The manifest cannot be written.
        """
        status = "error" if failed else "ok"
        entry = {"file": shard.digest, "size": shard.size, "mtime_ns": None, "status": status, "end": [rows, failed]}
        self._lines.append(json.dumps(entry) + "\n")
        self.rows += rows
        self.failed += failed
        if time.monotonic() > self._next_sync:
            self._sync()

    def close(self) -> None:
        """Complete the manifest.

        Raises:
            HandPoseError: The manifest cannot be written.
        """
        self._sync()

    def _list(self) -> list[str]:
        try:
            return list(self._store.ls(self._path, detail=False, refresh=True))
        except FileNotFoundError:
            return []

    def _read_manifest(self, shards: Sequence[Shard]) -> None:
        """Take over the completed shards of the job to resume."""
        name = f"{self._folder}/{MANIFEST}"
        try:
            lines = self._store.cat_file(f"{self._path}/{MANIFEST}").splitlines(keepends=True)
        except FileNotFoundError:
            raise HandPoseError(
                f"{self._folder}: has no manifest to resume from; pass `force=True` to start over"
            ) from None
        # JSON turns tuples into lists, so compare the settings as JSON reads them back.
        entries, _ = read_manifest(lines, name, json.loads(self._lines[0])["settings"])
        digests = {shard.digest for shard in shards}
        for entry in entries:
            if entry["file"] not in digests:
                raise HandPoseError(
                    f"{self._folder}: the input has changed since the job was started; pass the original input, "
                    "another output for new frames, or `force=True` to start over"
                )
            self._done.add(entry["file"])
            self._lines.append(json.dumps(entry) + "\n")
            self.rows += entry["end"][0]
            self.failed += entry["end"][1]

    def _sync(self) -> None:
        start = time.monotonic()
        write_url(f"{self._folder}/{MANIFEST}", "".join(self._lines).encode())
        end = time.monotonic()
        self._next_sync = end + WORK_PER_SYNC * (end - start)


def write_url(url: str, data: bytes) -> None:
    """Write a file at a path or URL atomically.

    Raises:
        HandPoseError: The file cannot be written.
    """
    try:
        if "://" in url and not url.startswith("file://"):
            store, path = fsspec.core.url_to_fs(url)
            store.pipe_file(path, data)
        else:
            path = Path(url.removeprefix("file://"))
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, data)
    except Exception as error:  # each file system raises its own types
        raise HandPoseError(f"{url}: cannot be written ({type(error).__name__}: {error})") from None


def _store(folder: str) -> tuple[Any, str]:
    try:
        store, path = fsspec.core.url_to_fs(folder)
    except (ImportError, ValueError) as error:
        raise HandPoseError(f"{folder}: cannot be written ({error})") from None
    return store, path


def _is_result(path: str) -> bool:
    """Return whether a file is one of this package, or one of a program that names its files alike, such as Spark."""
    name = path.rpartition("/")[2]
    return name == MANIFEST or (name.startswith("part-") and name.endswith(".parquet"))


def _digest(part: str) -> str:
    """Return the digest of the shard that a part belongs to."""
    return part.rpartition("/")[2].split("-")[1]
