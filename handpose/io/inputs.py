"""Lists the files that paths, folders and globs of the user stand for."""

from __future__ import annotations

import errno
import glob
import json
import os
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from handpose.errors import HandPoseError, brief
from handpose.io.text import MAX_LABELS_BYTES, read_text
from handpose.io.warn import warn

TARS = (".tar", ".tar.gz", ".tgz")
"""Extensions of archives of frames in WebDataset's layout."""

_OTHER_IMAGES = (".jpg", ".jpeg", ".bmp", ".gif", ".webp")

RECORDINGS = (".mcap", ".db3", ".bag", ".hpr")
"""Extensions of recordings that are files."""

PARQUET = ".parquet"
"""Extension of tables of frames."""


def is_archive(url: str) -> bool:
    """Return whether a file contains many frames."""
    return url.lower().endswith((*TARS, PARQUET))


def frame_path(file: Path, number: int) -> Path:
    """Return the path of one of several frames in a file: the file name, `#` and the number of the frame, from 0."""
    return file.with_name(f"{file.name}#{number}")


def file_of(frame: Path) -> Path:
    """Return the file that contains a frame, given a path from `frame_path` or the path of the file itself."""
    name, mark, number = frame.name.rpartition("#")
    return frame.with_name(name) if mark and number.isdecimal() and not frame.exists() else frame


def absolute(file: Path) -> Path:
    """Return the absolute path of a file. All paths of a file become equal, except for links to the file itself."""
    return _resolved(Path.cwd() / file.parent) / file.name


@lru_cache(maxsize=64)
def _resolved(folder: Path) -> Path:
    return folder.resolve()


def natural_key(path: str | Path) -> list[list[tuple[int, str]]]:
    """Return a sort key for paths that puts frame_2 before frame_10, folder by folder."""
    return [
        [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", name)]
        for name in str(path).replace("\\", "/").split("/")
    ]


def expand_lists(inputs: Iterable[str], stdin: BinaryIO) -> Iterator[str]:
    """Yield the inputs, with `@FILE` replaced by the entries of that list, and `-` by those of a list on `stdin`.

    A list that contains a null character, as `find -print0` writes it, separates its entries by null characters, and
    each entry is an input. Otherwise, each line is an input; spaces around it are removed, and empty lines and those
    that start with `#` are skipped. A file whose name starts with `@` is not a list.

    Raises:
        HandPoseError: A list cannot be read, is empty or too large, or is a file of records.
    """
    for text in inputs:
        if text == "-":
            name = "standard input"
            data = stdin.read(MAX_LABELS_BYTES + 1)
            if len(data) > MAX_LABELS_BYTES:
                raise HandPoseError(f"{name}: expected a list of at most {MAX_LABELS_BYTES} bytes, got more; split it")
            content = data.decode(errors="surrogateescape")
        elif text.startswith("@") and not Path(text).exists():
            name = text[1:]
            content = read_text(Path(name), MAX_LABELS_BYTES)
        else:
            yield text
            continue
        listed = _entries(content)
        if not listed:
            raise HandPoseError(f"{name}: the list of inputs is empty")
        if _is_record(listed[0]):
            raise HandPoseError(
                f"{name}: is a file of records, not a list of inputs; their paths are in the field source, which "
                "jq -r .source prints"
            )
        yield from listed


def _entries(content: str) -> list[str]:
    if "\0" in content:
        return [entry for entry in content.split("\0") if entry]
    # Not `splitlines`, because names may contain the other characters that it splits at.
    return [line for line in map(str.strip, content.split("\n")) if line and not line.startswith("#")]


def _is_record(text: str) -> bool:
    """Return whether an entry of a list is a JSON object."""
    try:
        return text.startswith("{") and isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def check_input(text: str) -> None:
    """Check that an input is a path, of a file that may not exist.

    Raises:
        HandPoseError: It is empty, too long, or contains a null character; or its folder may not be opened.
    """
    if not text:
        raise HandPoseError("an input is empty; expected a file, a folder or a glob")
    try:
        Path(text).stat()
    except ValueError as error:
        raise HandPoseError(f"{brief(text)}: is not a path ({error})") from None
    except OSError as error:  # pathlib ignores the others, such as that of a file that does not exist
        if error.errno in (errno.ENAMETOOLONG, errno.EACCES):
            raise HandPoseError(f"{brief(text)}: cannot be read ({error.strerror})") from None


def list_files(inputs: Iterable[str], suffixes: tuple[str, ...], *, recursive: bool | None = None) -> list[Path]:
    """List the files that paths, folders and globs stand for, without duplicates.

    Files of a folder or a glob are sorted by name, with numbers compared by value.

    Args:
        inputs: Paths of files, which may not exist; folders, whose files with one of the extensions are listed; globs.
        suffixes: Extensions in lower case.
        recursive: Include the subfolders of folders, except for links; None if the caller has no such option.

    Raises:
        HandPoseError: A folder contains no such file, a glob matches no file, or an input is not a path.

    Warns:
        UserWarning: The subfolders of a folder contain such files, but are skipped, or cannot be read; or the folder
            contains recordings or images of other formats.
    """
    files: dict[Path, Path] = {}
    for text in inputs:
        check_input(text)
        path = Path(text)
        if path.is_dir():
            matches = _files_of(path, suffixes, recursive)
        elif path.exists() or not glob.has_magic(text):
            matches = [path]
        else:
            matches = sorted(map(Path, glob.glob(text, recursive=True)), key=natural_key)  # noqa: PTH207 - keeps the spelling
            if not matches:
                raise HandPoseError(f"{text}: no file matches")
        for file in matches:
            files.setdefault(absolute(file), file)
    return list(files.values())


def _files_of(folder: Path, suffixes: tuple[str, ...], recursive: bool | None) -> list[Path]:
    """List the files of a folder, and warn about what is skipped."""

    def matches(path: Path) -> bool:
        return path.name.lower().endswith(suffixes) and not is_metadata(path.name) and not path.is_dir()

    entries, subfolders = _contents(folder, recursive=bool(recursive))
    files = sorted(filter(matches, entries), key=natural_key)
    skipped = sum(any(map(matches, path.rglob("*"))) for path in subfolders)
    linked = "linked " if recursive else ""
    verb, them = ("s with depth files are", "them") if skipped > 1 else (" with depth files is", "it")
    means = f"pass `recursive=True` to include {them}" if recursive is False else "pass the path of a subfolder"
    advice = f"{skipped} {linked}subfolder{verb} skipped; {means}"
    images, recordings = (
        [suffix for suffix in (path.suffix.lower() for path in entries) if suffix in others]
        for others in (_OTHER_IMAGES, RECORDINGS)
    )
    if not files:
        expected = f"no depth files in this folder; expected {', '.join(suffixes)}"
        expected += "; pass recordings by their own paths" if recordings else ""
        raise HandPoseError(f"{folder}: {advice if skipped else expected}")
    if skipped:
        warn(f"{folder}: {advice}")
    for ignored, what in ((images, "images that cannot contain depth"), (recordings, "recordings")):
        if ignored:
            warn(f"{folder}: ignored {what}: {len(ignored)} ({', '.join(sorted(set(ignored)))})")
    return files


def _contents(folder: Path, *, recursive: bool) -> tuple[list[Path], list[Path]]:
    """Return the files in a folder, and the subfolders whose files are not among them.

    With `recursive`, these are only links to folders elsewhere. Links are not followed, since they may lead in circles.

    Raises:
        OSError: The folder cannot be read.

    Warns:
        UserWarning: Subfolders cannot be read.
    """
    files: list[Path] = []
    skipped: list[Path] = []
    unreadable: list[OSError] = []

    def note(error: OSError) -> None:
        if error.filename == str(folder):
            raise error
        unreadable.append(error)

    for parent, folders, names in os.walk(folder, onerror=note):
        files += [Path(parent, name) for name in names]
        skipped += [Path(parent, name) for name in folders]
        if not recursive:
            break
    if recursive:
        root = folder.resolve()
        skipped = [path for path in skipped if path.is_symlink() and not path.resolve().is_relative_to(root)]
    if unreadable:
        warn(f"{folder}: subfolders that cannot be read are skipped: {len(unreadable)}, such as {unreadable[0]}")
    return files, skipped


def is_metadata(name: str) -> bool:
    """Return whether a file name is one of those that macOS writes next to files on disks of other systems."""
    return name.startswith("._")
