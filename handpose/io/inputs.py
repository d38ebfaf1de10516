"""Which files the user means by paths, folders and globs."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path

from handpose.errors import HandPoseError

TARS = (".tar", ".tar.gz", ".tgz")
"""Endings of archives of frames, in WebDataset's layout."""

PARQUET = ".parquet"
"""Ending of tables of frames."""


def is_archive(url: str) -> bool:
    """Whether it holds frames, rather than being one."""
    return url.lower().endswith((*TARS, PARQUET))


def list_files(inputs: Iterable[str], suffixes: tuple[str, ...]) -> list[Path]:
    """The files that paths, folders and globs stand for, each once, in order; a path may name what is not there.

    Args:
        inputs: paths, folders (whose files with one of `suffixes` are meant) and globs.
        suffixes: lower-case endings.

    Raises:
        HandPoseError: a folder has no such file, a glob matches nothing, or an input is empty.
    """
    files: dict[Path, None] = {}
    for text in inputs:
        if not text:
            raise HandPoseError("an input is empty; expected a file, a folder or a glob")
        path = Path(text)
        if path.is_dir():
            found = sorted(file for file in path.iterdir() if file.name.lower().endswith(suffixes))
            if not found:
                raise HandPoseError(f"{path}: no depth files in this folder; expected {', '.join(suffixes)}")
        elif path.exists() or not glob.has_magic(text):
            found = [path]
        else:
            found = [Path(match) for match in sorted(glob.glob(text, recursive=True))]  # noqa: PTH207 - as the user wrote it
            if not found:
                raise HandPoseError(f"{text}: no file matches")
        files |= dict.fromkeys(found)
    return list(files)
