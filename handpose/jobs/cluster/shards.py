"""What there is to do: files, archives and tables, on a disk or in an object store, cut into shards."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
from collections.abc import Iterable
from typing import Any, NamedTuple

import fsspec

from handpose.errors import HandPoseError
from handpose.io.depth.read import SUFFIXES
from handpose.io.inputs import PARQUET, TARS, is_archive, list_files

FILES_PER_SHARD = 128
"""Of frames that are files of their own; an archive or table is one shard."""


class InputFile(NamedTuple):
    """A file of the input.

    Attributes:
        name: what records call it.
        url: where every machine of the cluster reads it.
        size: bytes, none if it is not there.
        version: changes with the file: its time of change, or what the object store has for it.
    """

    name: str
    url: str
    size: int | None
    version: str


class Shard(NamedTuple):
    """A part of the input that is finished as a whole: some frames, or one archive or table of frames."""

    files: tuple[InputFile, ...]

    @property
    def digest(self) -> str:
        """Tells it from all other shards, and from itself when a file has changed."""
        return hashlib.sha256(json.dumps([file[1:] for file in self.files]).encode()).hexdigest()[:16]

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(file.size or 0 for file in self.files)


def find_shards(inputs: Iterable[str]) -> list[Shard]:
    """The shards that paths, folders, globs and URLs stand for; each file is in one of them.

    Args:
        inputs: local ones as `list_files` takes them, and URLs of files, folders and globs that fsspec knows
            (`s3://`, `gs://`, `file://`, ...).

    Raises:
        HandPoseError: an input cannot be listed or stands for nothing, or not one of the files is there.
    """
    files: dict[str, InputFile] = {}
    for text in inputs:
        files |= {file.name: file for file in (_at_url(text) if "://" in text else _on_disk(text))}
    if all(file.size is None for file in files.values()):
        raise HandPoseError(f"{', '.join(files)[:200]}: no such file; expected frames, archives or tables of them")
    alone = [file for file in files.values() if is_archive(file.url)]
    loose = [file for file in files.values() if not is_archive(file.url)]
    return [
        *(Shard((file,)) for file in alone),
        *(Shard(tuple(loose[i : i + FILES_PER_SHARD])) for i in range(0, len(loose), FILES_PER_SHARD)),
    ]


def _on_disk(text: str) -> list[InputFile]:
    files = []
    for path in list_files([text], (*SUFFIXES, *TARS, PARQUET)):
        size, version = None, ""
        with contextlib.suppress(OSError):
            status = path.stat()
            size, version = status.st_size, str(status.st_mtime_ns)
        files.append(InputFile(str(path), str(path.absolute()), size, version))
    return files


def _at_url(url: str) -> list[InputFile]:
    try:
        store, path = fsspec.core.url_to_fs(url)
        if glob.has_magic(path):
            found = store.glob(path, detail=True)
        elif store.isdir(path):
            wanted = (*SUFFIXES, *TARS, PARQUET)
            found = {entry["name"]: entry for entry in store.ls(path, detail=True)}
            found = {name: entry for name, entry in found.items() if name.lower().endswith(wanted)}
        elif store.exists(path):
            found = {path: store.info(path)}
        else:
            return [InputFile(url, url, None, "")]
    except Exception as error:  # every store has its own
        raise HandPoseError(f"{url}: cannot be listed ({type(error).__name__}: {error})") from None
    if not found:
        raise HandPoseError(f"{url}: no depth files, archives or tables there")
    return [_described(store.unstrip_protocol(name), found[name]) for name in sorted(found)]


def _described(url: str, entry: dict[str, Any]) -> InputFile:
    version = next(
        (str(entry[key]) for key in ("ETag", "etag", "md5Hash", "mtime", "LastModified") if key in entry), ""
    )
    return InputFile(url, url, entry.get("size"), version)
