"""Writes files atomically."""

from __future__ import annotations

import os
from io import FileIO
from pathlib import Path


def write_atomically(path: Path, data: bytes) -> None:
    """Replace the content of a file. If writing is interrupted, the file is unchanged.

    A pipe or a device, such as `/dev/null`, is written to, because it must not be replaced by a file.

    Raises:
        OSError: The file cannot be written; the old file is unchanged.
    """
    if path.exists() and not path.is_file():
        with FileIO(path, "w") as file:
            write_all(file, data)
        return
    path = path.resolve()  # replaces the target of a link instead of the link
    partial = path.with_name(f".{path.name}.partial")
    try:
        with FileIO(partial, "w") as file:
            write_all(file, data)
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def write_all(file: FileIO, data: bytes) -> None:
    """Write all of `data` to an open file."""
    view = memoryview(data)
    while view:  # on a disk that fills up, one call writes only a part
        view = view[file.write(view) :]
