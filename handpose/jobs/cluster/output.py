"""Where records go: a folder of Parquet files, on a disk or in an object store, and a manifest of finished shards."""

from __future__ import annotations

import json
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
"""The manifest's name; what begins with `_` is no data to readers of Parquet folders."""


class ShardedOutput:
    """A folder with the Parquet files of each shard, and the manifest of the shards that are whole.

    A part's name depends on its shard alone, so that doing a shard again replaces what was there.

    Attributes:
        rows: of the shards that are finished, those of the job that is resumed among them.
        failed: how many of these are errors.
    """

    def __init__(
        self, folder: str, settings: Mapping[str, Any], shards: Sequence[Shard], *, resume: bool, force: bool
    ) -> None:
        """Opens the folder, empty or, to resume, with what was finished.

        Args:
            folder: a path or an fsspec URL.
            settings: what the records depend on, as JSON's types.
            shards: all there is to do.
            resume: go on with what is there, if anything is.
            force: remove what is there.

        Raises:
            HandPoseError: something is there already, cannot be gone on with, or the folder cannot be written.
        """
        self._folder = folder.rstrip("/") if "://" in folder else str(Path(folder).absolute())
        self._store, self._path = _store(folder)
        self._lines = [json.dumps({"settings": settings}) + "\n"]
        self._done: set[str] = set()
        self.rows = self.failed = 0
        self._next_sync = 0.0
        try:
            if self._store.isfile(self._path):
                raise HandPoseError(f"{folder}: is a file; expected a folder, or a name for one")
            old = [path for path in self._listed() if _is_ours(path)]
            if old and force:
                self._store.rm(old)
            elif old and not resume:
                raise HandPoseError(
                    f"{folder}: has results already; give --force to overwrite them, or --resume to go on"
                )
            elif old:
                self._take_over(shards)
                # Parts of shards that were not finished would be rows twice, should there be fewer of them now.
                begun = [path for path in old if not path.endswith(MANIFEST) and _digest(path) not in self._done]
                if begun:
                    self._store.rm(begun)
            self._sync()
        except HandPoseError:
            raise
        except Exception as error:  # every store has its own
            raise HandPoseError(f"{folder}: cannot be used ({type(error).__name__}: {error})") from None

    def holds(self, shard: Shard) -> bool:
        """Whether the job that is resumed has finished it."""
        return shard.digest in self._done

    def stem(self, shard: Shard) -> str:
        """What paths or URLs of the parts of a shard begin with."""
        return f"{self._folder}/part-{shard.digest}"

    def finish(self, shard: Shard, rows: int, failed: int) -> None:
        """Notes that all parts of a shard are there.

        Raises:
            HandPoseError: the manifest cannot be written.
        """
        status = "error" if failed else "ok"
        entry = {"file": shard.digest, "size": shard.size, "mtime_ns": None, "status": status, "end": [rows, failed]}
        self._lines.append(json.dumps(entry) + "\n")
        self.rows += rows
        self.failed += failed
        if time.monotonic() > self._next_sync:
            self._sync()

    def close(self) -> None:
        """Completes the manifest.

        Raises:
            HandPoseError: it cannot be written.
        """
        self._sync()

    def _listed(self) -> list[str]:
        try:
            return list(self._store.ls(self._path, detail=False, refresh=True))
        except FileNotFoundError:
            return []

    def _take_over(self, shards: Sequence[Shard]) -> None:
        name = f"{self._folder}/{MANIFEST}"
        try:
            lines = self._store.cat_file(f"{self._path}/{MANIFEST}").splitlines(keepends=True)
        except FileNotFoundError:
            raise HandPoseError(
                f"{self._folder}: has no manifest to resume from; give --force to start again"
            ) from None
        # A settings value reads back as JSON gives it: tuples are lists.
        entries, _ = read_manifest(lines, name, json.loads(self._lines[0])["settings"])
        there = {shard.digest for shard in shards}
        for entry in entries:
            if entry["file"] not in there:
                raise HandPoseError(
                    f"{self._folder}: the input is not what it was when the results were begun; give what it was, "
                    "another output for new frames, or --force to start again"
                )
            self._done.add(entry["file"])
            self._lines.append(json.dumps(entry) + "\n")
            self.rows += entry["end"][0]
            self.failed += entry["end"][1]

    def _sync(self) -> None:
        start = time.monotonic()
        put(f"{self._folder}/{MANIFEST}", "".join(self._lines).encode())
        end = time.monotonic()
        self._next_sync = end + WORK_PER_SYNC * (end - start)


def put(url: str, data: bytes) -> None:
    """Makes `data` the content of a path or URL: all of it or nothing.

    Raises:
        HandPoseError: it cannot be written.
    """
    try:
        if "://" in url and not url.startswith("file://"):
            store, path = fsspec.core.url_to_fs(url)
            store.pipe_file(path, data)
        else:
            path = Path(url.removeprefix("file://"))
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, data)
    except Exception as error:  # every store has its own
        raise HandPoseError(f"{url}: cannot be written ({type(error).__name__}: {error})") from None


def _store(folder: str) -> tuple[Any, str]:
    try:
        store, path = fsspec.core.url_to_fs(folder)
    except (ImportError, ValueError) as error:
        raise HandPoseError(f"{folder}: cannot be written ({error})") from None
    return store, path


def _is_ours(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name == MANIFEST or (name.startswith("part-") and name.endswith(".parquet"))


def _digest(part: str) -> str:
    """Of the shard that a part belongs to."""
    return part.rpartition("/")[2].split("-")[1]
