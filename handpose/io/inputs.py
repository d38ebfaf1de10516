"""Lists the files that paths, folders and globs of the user stand for."""

from __future__ import annotations

import glob
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


def list_files(inputs: Iterable[str], suffixes: tuple[str, ...]) -> list[Path]:
    """List the files that paths, folders and globs stand for, in order and without duplicates.

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
            matches = sorted(file for file in path.iterdir() if file.name.lower().endswith(suffixes))
            if not matches:
                raise HandPoseError(f"{path}: no depth files in this folder; expected {', '.join(suffixes)}")
        elif path.exists() or not glob.has_magic(text):
            matches = [path]
        else:
            matches = [Path(match) for match in sorted(glob.glob(text, recursive=True))]  # noqa: PTH207 - keeps the user's spelling
            if not matches:
                raise HandPoseError(f"{text}: no file matches")
        files |= dict.fromkeys(matches)
    return list(files)
