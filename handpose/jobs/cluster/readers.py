"""Every frame of a shard, or why there is none: nothing that is in a shard is lost without a word."""

from __future__ import annotations

import itertools
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from handpose.errors import DepthReadError
from handpose.io.depth.limits import LARGEST_FILE
from handpose.io.depth.read import SUFFIXES, read_bytes
from handpose.io.inputs import PARQUET, is_archive
from handpose.jobs.cluster.shards import InputFile, Shard
from handpose.jobs.pipeline import FetchedFile

_CHUNK_FILES, _CHUNK_BYTES = 128, 1 << 26  # what is on its way as one piece


def read_shard(shard: Shard, batch_size: int) -> Iterator[list[FetchedFile]]:
    """The frames of a shard in pieces, at least one, whose lengths but the last's are multiples of `batch_size`.

    A file that cannot be read, and what is missing of a damaged archive or table, is an entry with its reason.
    """
    chunk: list[FetchedFile] = []
    size = 0
    for file in _frames(shard):
        chunk.append(file)
        size += len(file.data)
        if len(chunk) % batch_size == 0 and (len(chunk) >= _CHUNK_FILES or size >= _CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _frames(shard: Shard) -> Iterator[FetchedFile]:
    (first, *_) = shard.files
    if not is_archive(first.url):
        yield from _files(shard.files)
        return
    frames = _table(first) if first.url.lower().endswith(PARQUET) else _archive(first)
    empty = _failed(first.name, f"{first.name}: has no depth files; expected {', '.join(SUFFIXES)}")
    yield next(frames, empty)
    yield from frames


def _until_damage(file: InputFile, frames: Iterator[FetchedFile]) -> Iterator[FetchedFile]:
    """The frames, and in place of those that cannot be had what is wrong with the file."""
    try:
        yield from frames
    except DepthReadError as error:
        yield _failed(file.name, str(error))
    except FileNotFoundError:
        yield _failed(file.name, f"{file.name}: no such file; its frames are missing")
    except (OSError, EOFError, ValueError, zlib.error, tarfile.TarError, pa.ArrowException) as error:
        yield _failed(file.name, f"{file.name}: cannot be read to its end ({error}); the frames after this are missing")


def _failed(name: str, reason: str) -> FetchedFile:
    return FetchedFile(name, b"", " ".join(reason.split()))


def _files(files: tuple[InputFile, ...]) -> Iterator[FetchedFile]:
    remote = [file for file in files if "://" in file.url and (file.size or 0) <= LARGEST_FILE]
    fetched = _fetched([file.url for file in remote])
    for file in files:
        data = fetched.get(file.url)
        if isinstance(data, bytes):
            yield FetchedFile(file.name, data)
        elif data is not None:
            reason = "no such file" if isinstance(data, FileNotFoundError) else f"cannot be read ({data})"
            yield _failed(file.name, f"{file.name}: {reason}; expected a depth image ({', '.join(SUFFIXES)})")
        elif "://" in file.url:
            yield _failed(file.name, f"{file.name}: {file.size} bytes; no depth image is that large")
        else:
            try:
                yield FetchedFile(file.name, read_bytes(Path(file.url), file.name))
            except DepthReadError as error:
                yield _failed(file.name, str(error))


def _fetched(urls: list[str]) -> dict[str, bytes | Exception]:
    """What each URL holds, or what went wrong; a store that can fetches them side by side."""
    found: dict[str, bytes | Exception] = {}
    for _, group in itertools.groupby(urls, lambda url: url.partition("://")[0]):
        same = list(group)
        try:
            store, _ = fsspec.core.url_to_fs(same[0])
            paths = [store._strip_protocol(url) for url in same]
            contents = store.cat(paths, on_error="return")
            found |= {url: contents[path] for url, path in zip(same, paths, strict=True)}
        except Exception as error:  # every store has its own
            found |= dict.fromkeys(same, error)
    return found


class _Member(tarfile.TarInfo):
    """A member of an archive that notes whether the archive's end mark was seen.

    Without it, `tarfile` takes a damaged header, or the place where the archive was cut short, for the end.
    """

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> _Member:
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            archive.at_end = True  # type: ignore[attr-defined]
            raise


def _archive(file: InputFile) -> Iterator[FetchedFile]:
    """The depth files of a tar archive, read once from front to back.

    Neighbours with one name up to the first dot are one sample; where one of them is a `.depth.` file, the others
    are not depth.
    """
    own = len(file.name)
    members = _until_damage(file, _members(file))
    for _, group in itertools.groupby(members, lambda frame: frame.name[own:].partition(".")[0]):
        sample = list(group)
        yield from [frame for frame in sample if ".depth." in frame.name[own:]] or sample


def _members(file: InputFile) -> Iterator[FetchedFile]:
    with (
        fsspec.open(file.url, "rb") as stream,
        tarfile.open(fileobj=stream, mode="r|*", tarinfo=_Member) as archive,
    ):
        for member in archive:
            if not (member.isfile() and PurePosixPath(member.name).suffix.lower() in SUFFIXES):
                continue
            name = f"{file.name}/{member.name}"
            if member.size > LARGEST_FILE:
                yield _failed(name, f"{name}: {member.size} bytes; no depth image is that large")
                continue
            packed = archive.extractfile(member)
            assert packed is not None  # it is a regular file
            yield FetchedFile(name, packed.read())
        if not getattr(archive, "at_end", False):
            raise tarfile.ReadError("its end mark is missing")


def _table(file: InputFile) -> Iterator[FetchedFile]:
    """The rows of a Parquet file with `bytes` and, if there are names, `path`; or with one column of both."""
    return _until_damage(file, _rows(file))


def _rows(file: InputFile) -> Iterator[FetchedFile]:
    with fsspec.open(file.url, "rb") as stream:
        table = pq.ParquetFile(stream)
        schema = table.schema_arrow
        nested = [field.name for field in schema if pa.types.is_struct(field.type) and _has_bytes(field.type)]
        if "bytes" not in schema.names and len(nested) != 1:
            raise DepthReadError(
                f"{file.name}: expected a column bytes, and path, or one column of both, got {', '.join(schema.names)}"
            )
        wanted = [name for name in ("bytes", "path") if name in schema.names] if "bytes" in schema.names else nested
        rows: Iterable[dict[str, object]] = itertools.chain.from_iterable(
            piece.to_pylist() for piece in table.iter_batches(batch_size=16, columns=wanted)
        )
        for number, row in enumerate(rows):
            values = row if "bytes" in row else row[nested[0]] or {}
            assert isinstance(values, dict)
            name = f"{file.name}/{values.get('path') or f'{number:08d}'}"
            data = values.get("bytes")
            if isinstance(data, bytes):
                yield FetchedFile(name, data)
            else:
                yield _failed(name, f"{name}: the row has no bytes")


def _has_bytes(kind: pa.StructType) -> bool:
    return any(kind.field(i).name == "bytes" for i in range(kind.num_fields))
