"""Shards of the input of a cluster job: files, archives and tables on any file system."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import fsspec

from handpose.errors import HandPoseError
from handpose.io.depth.read import SUFFIXES
from handpose.io.inputs import PARQUET, RECORDINGS, TARS, absolute, is_archive, is_metadata, list_files, natural_key
from handpose.io.warn import warn

FILES_PER_SHARD = 128
"""Number of loose depth files per shard; each archive or table is one shard."""

_SUFFIXES = (*SUFFIXES, *TARS, PARQUET)


class InputFile(NamedTuple):
    """A file of the input.

    Attributes:
        name: Name of the file in the records.
        url: Path or URL at which every machine of the cluster reads the file.
        size: Size in bytes, or None if the file does not exist.
        version: Modification time, or the object store's version, which changes with the content.
    """

    name: str
    url: str
    size: int | None
    version: str


class Shard(NamedTuple):
    """A part of the input that is completed atomically: loose depth files, or one archive or table."""

    files: tuple[InputFile, ...]

    @property
    def digest(self) -> str:
        """Hash of the URLs, sizes and versions of the files, which identifies the shard."""
        return hashlib.sha256(json.dumps([file[1:] for file in self.files]).encode()).hexdigest()[:16]

    @property
    def size(self) -> int:
        """Total size in bytes."""
        return sum(file.size or 0 for file in self.files)


def find_shards(inputs: Iterable[str], *, recursive: bool = False) -> list[Shard]:
    """Return the shards of all inputs; each file belongs to one shard.

    Args:
        inputs: Local files, folders and globs, and URLs of files, folders and globs that fsspec supports (`s3://`,
            `gs://`, `file://`, ...).
        recursive: Include the subfolders of folders.

    Raises:
        HandPoseError: An input is a recording, cannot be listed or matches no file, or none of the files exists.

    Warns:
        UserWarning: Inputs occur more than once, or subfolders are skipped.
    """
    files: dict[str, InputFile] = {}
    repeated = 0
    for text in inputs:
        if text.lower().endswith(RECORDINGS):
            raise HandPoseError(f"{text}: recordings are only read without `engine=ray`")
        for file in _list_url(text, recursive) if "://" in text else _list_local(text, recursive):
            repeated += files.setdefault(_identity(file.url), file) is not file
    if repeated:
        warn(f"inputs that occur more than once are predicted once: {repeated}")
    if all(file.size is None for file in files.values()):
        names = ", ".join(file.name for file in files.values())
        raise HandPoseError(f"{names[:200]}: no such file; expected frames, archives or tables of them")
    archives = [file for file in files.values() if is_archive(file.url)]
    loose = [file for file in files.values() if not is_archive(file.url)]
    return [
        *(Shard((file,)) for file in archives),
        *(Shard(tuple(loose[i : i + FILES_PER_SHARD])) for i in range(0, len(loose), FILES_PER_SHARD)),
    ]


def _identity(url: str) -> str:
    """Return what is equal for all URLs and paths of a file."""
    path = url.removeprefix("file://")
    return url if "://" in path else str(absolute(Path(path)))


def _list_local(text: str, recursive: bool) -> list[InputFile]:
    files = []
    for path in list_files([text], _SUFFIXES, recursive=recursive):
        size, version = None, ""
        with contextlib.suppress(OSError):
            status = path.stat()
            size, version = status.st_size, str(status.st_mtime_ns)
        files.append(InputFile(str(path), str(path.absolute()), size, version))
    return files


def _list_url(url: str, recursive: bool) -> list[InputFile]:
    skipped = ""
    try:
        store, path = fsspec.core.url_to_fs(url)
        if glob.has_magic(path) and not store.exists(path):
            entries = store.glob(path, detail=True)
        elif store.isdir(path):
            found = store.find(path, detail=True).values() if recursive else store.ls(path, detail=True)
            listed = {entry["name"]: entry for entry in found}
            folders = {name.rstrip("/") for name, entry in listed.items() if entry["type"] == "directory"}
            folders.discard(path.rstrip("/"))  # some object stores list the folder itself
            if folders and not recursive:
                skipped = f"subfolders are skipped: {len(folders)}; pass `recursive=True` to include them"
            entries = {
                name: entry
                for name, entry in listed.items()
                if name.lower().endswith(_SUFFIXES) and not is_metadata(name.rpartition("/")[2])
            }
        elif store.exists(path):
            entries = {path: store.info(path)}
        else:
            return [InputFile(url, url, None, "")]
    except Exception as error:  # each file system raises its own types
        raise HandPoseError(f"{url}: cannot be listed ({type(error).__name__}: {error})") from None
    if not entries:
        raise HandPoseError(f"{url}: contains no depth files, archives or tables{skipped and f'; {skipped}'}")
    if skipped:
        warn(f"{url}: {skipped}")
    return [_input_file(store.unstrip_protocol(name), entries[name]) for name in sorted(entries, key=natural_key)]


def _input_file(url: str, entry: dict[str, Any]) -> InputFile:
    version = next(
        (str(entry[key]) for key in ("ETag", "etag", "md5Hash", "mtime", "LastModified") if key in entry), ""
    )
    return InputFile(url, url, entry.get("size"), version)
