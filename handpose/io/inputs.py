"""Lists the files that paths, folders and globs of the user stand for."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable
from pathlib import Path

from handpose.errors import HandPoseError

TARS = (".tar", ".tar.gz", ".tgz")
"""Extensions of archives of frames in WebDataset's layout."""

PARQUET = ".parquet"
"""Extension of tables of frames."""


def is_archive(url: str) -> bool:
    """Return whether a file contains many frames."""
    return url.lower().endswith((*TARS, PARQUET))


def frame_path(file: Path, number: int) -> Path:
    """Return the path that stands for one of several frames of a file, counted from 0."""
    return file.with_name(f"{file.name}#{number}")


def file_of(frame: Path) -> Path:
    """Return the file that contains a frame: the one of `frame_path`, or the path itself."""
    name, mark, number = frame.name.rpartition("#")
    return frame.with_name(name) if mark and number.isdecimal() and not frame.exists() else frame


def natural_key(path: str | Path) -> list[list[tuple[int, str]]]:
    """Return a sort key for paths that puts frame_2 before frame_10, folder by folder."""
    return [
        [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", name)]
        for name in str(path).replace("\\", "/").split("/")
    ]


def list_files(inputs: Iterable[str], suffixes: tuple[str, ...]) -> list[Path]:
    """List the files that paths, folders and globs stand for, without duplicates.

    Files of a folder or a glob are sorted by name, with numbers compared by value.

    Args:
        inputs: Paths of files, which may not exist; folders, whose files with one of the extensions are listed; globs.
        suffixes: Extensions in lower case.

    Raises:
        HandPoseError: A folder contains no such file, a glob matches no file, or an input is empty.
    """
    files: dict[Path, None] = {}
    for text in inputs:
        if not text:
            raise HandPoseError("an input is empty; expected a file, a folder or a glob")
        path = Path(text)
        if path.is_dir():
            matches = sorted((file for file in path.iterdir() if file.name.lower().endswith(suffixes)), key=natural_key)
            if not matches:
                raise HandPoseError(f"{path}: no depth files in this folder; expected {', '.join(suffixes)}")
        elif path.exists() or not glob.has_magic(text):
            matches = [path]
        else:
            matches = sorted(map(Path, glob.glob(text, recursive=True)), key=natural_key)  # noqa: PTH207 - keeps the spelling
            if not matches:
                raise HandPoseError(f"{text}: no file matches")
        files |= dict.fromkeys(matches)
    return list(files)
