"""Readers of shards that return every frame, as data or as an error."""

from __future__ import annotations

import glob
import itertools
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from handpose.errors import DepthReadError
from handpose.io.depth.limits import MAX_FILE_BYTES
from handpose.io.depth.read import SUFFIXES, read_bytes
from handpose.io.depth.stacks import split_frames
from handpose.io.inputs import PARQUET, is_archive, is_metadata
from handpose.jobs.cluster.shards import InputFile, Shard
from handpose.jobs.pipeline import FetchedFile

_PIECE_FILES, _PIECE_BYTES = 128, 1 << 26


def read_shard(shard: Shard, batch_size: int) -> Iterator[list[FetchedFile]]:
    """Yield the frames of a shard in one or more pieces.

    All pieces but the last one have a multiple of `batch_size` frames. A file that cannot be read, and the remainder of
    a damaged archive or table, is an entry with the reason.
    """
    piece: list[FetchedFile] = []
    size = 0
    for file in _single_frames(shard):
        piece.append(file)
        size += len(file.data)
        if len(piece) % batch_size == 0 and (len(piece) >= _PIECE_FILES or size >= _PIECE_BYTES):
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


def _single_frames(shard: Shard) -> Iterator[FetchedFile]:
    """Yield the files of a shard, those with several frames as one file per frame."""
    for file in _frames(shard):
        if file.reason:
            yield file
        else:
            for frame in split_frames(file.name, file.data):
                yield FetchedFile(*frame)


def _frames(shard: Shard) -> Iterator[FetchedFile]:
    (first, *_) = shard.files
    if not is_archive(first.url):
        yield from _files(shard.files)
        return
    frames = _table(first) if first.url.lower().endswith(PARQUET) else _archive(first)
    empty = _failed(first.name, f"{first.name}: contains no depth files; expected {', '.join(SUFFIXES)}")
    yield next(frames, empty)
    yield from frames


def _read_until_error(file: InputFile, frames: Iterator[FetchedFile]) -> Iterator[FetchedFile]:
    """Yield the frames, and one entry with the reason in place of those that cannot be read."""
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
    remote = [file for file in files if "://" in file.url and (file.size or 0) <= MAX_FILE_BYTES]
    contents = _fetch([file.url for file in remote])
    for file in files:
        data = contents.get(file.url)
        if isinstance(data, bytes):
            yield FetchedFile(file.name, data)
        elif data is not None:
            reason = "no such file" if isinstance(data, FileNotFoundError) else f"cannot be read ({data})"
            yield _failed(file.name, f"{file.name}: {reason}; expected a depth image ({', '.join(SUFFIXES)})")
        elif "://" in file.url:
            yield _failed(file.name, f"{file.name}: {file.size} bytes exceed the maximum size of a depth file")
        else:
            try:
                yield FetchedFile(file.name, read_bytes(Path(file.url), file.name))
            except DepthReadError as error:
                yield _failed(file.name, str(error))


def _fetch(urls: list[str]) -> dict[str, bytes | Exception]:
    """Return the content of each URL, or the error; file systems that support it download files concurrently."""
    if len(urls) > 1 and any(map(glob.has_magic, urls)):  # fsspec would read them as patterns
        return {url: content for one in urls for url, content in _fetch([one]).items()}
    results: dict[str, bytes | Exception] = {}
    for _, group in itertools.groupby(urls, lambda url: url.partition("://")[0]):
        same_store = list(group)
        try:
            store, _ = fsspec.core.url_to_fs(same_store[0])
            paths = [store._strip_protocol(url) for url in same_store]
            contents = {paths[0]: store.cat_file(paths[0])} if len(paths) == 1 else store.cat(paths, on_error="return")
            results |= {url: contents[path] for url, path in zip(same_store, paths, strict=True)}
        except Exception as error:  # each file system raises its own types
            results |= dict.fromkeys(same_store, error)
    return results


class _Member(tarfile.TarInfo):
    """A member of an archive that records whether the end mark of the archive was read.

    `tarfile` alone mistakes a damaged header, or the end of a truncated archive, for the end mark.
    """

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> _Member:
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            archive.at_end = True  # type: ignore[attr-defined]
            raise


def _archive(file: InputFile) -> Iterator[FetchedFile]:
    """Yield the depth files of a tar archive, in one sequential pass.

    Consecutive files of one folder that share a name up to the first dot form a sample. If one of them has `.depth.` in
    its name, only that file is read as depth.
    """
    prefix = len(file.name)

    def parts(frame: FetchedFile) -> tuple[str, str]:
        folder, _, name = frame.name[prefix:].rpartition("/")
        return folder, name

    def sample_of(frame: FetchedFile) -> tuple[str, str]:
        folder, name = parts(frame)
        return folder, name.partition(".")[0]

    members = _read_until_error(file, _members(file))
    for _, group in itertools.groupby(members, sample_of):
        sample = list(group)
        yield from [frame for frame in sample if ".depth." in parts(frame)[1]] or sample


def _members(file: InputFile) -> Iterator[FetchedFile]:
    with (
        fsspec.open(file.url, "rb") as stream,
        tarfile.open(fileobj=stream, mode="r|*", tarinfo=_Member) as archive,
    ):
        for member in archive:
            if not (member.isfile() and _is_depth_file(PurePosixPath(member.name))):
                continue
            name = f"{file.name}/{member.name}"
            if member.size > MAX_FILE_BYTES:
                yield _failed(name, f"{name}: {member.size} bytes exceed the maximum size of a depth file")
                continue
            content = archive.extractfile(member)
            assert content is not None  # it is a regular file
            yield FetchedFile(name, content.read())
        if not getattr(archive, "at_end", False):
            raise tarfile.ReadError("its end mark is missing")


def _is_depth_file(path: PurePosixPath) -> bool:
    return path.suffix.lower() in SUFFIXES and not is_metadata(path.name)


def _table(file: InputFile) -> Iterator[FetchedFile]:
    """Yield the rows of a Parquet file with a column `bytes` and an optional column `path`, or one column of both."""
    return _read_until_error(file, _rows(file))


def _rows(file: InputFile) -> Iterator[FetchedFile]:
    with fsspec.open(file.url, "rb") as stream:
        table = pq.ParquetFile(stream)
        schema = table.schema_arrow
        nested = [field.name for field in schema if pa.types.is_struct(field.type) and _has_bytes(field.type)]
        if "bytes" not in schema.names and len(nested) != 1:
            raise DepthReadError(
                f"{file.name}: expected a column bytes, and optionally path, or one column that contains both; "
                f"got {', '.join(schema.names)}"
            )
        columns = [name for name in ("bytes", "path") if name in schema.names] if "bytes" in schema.names else nested
        rows: Iterable[dict[str, object]] = itertools.chain.from_iterable(
            piece.to_pylist() for piece in table.iter_batches(batch_size=16, columns=columns)
        )
        for number, row in enumerate(rows):
            values = row if "bytes" in row else row[nested[0]] or {}
            assert isinstance(values, dict)
            name = f"{file.name}/{values.get('path') or f'{number:08d}'}"
            data = values.get("bytes")
            if isinstance(data, bytes):
                yield FetchedFile(name, data)
            else:
                yield _failed(name, f"{name}: the row contains no bytes")


def _has_bytes(kind: pa.StructType) -> bool:
    return any(kind.field(i).name == "bytes" for i in range(kind.num_fields))
