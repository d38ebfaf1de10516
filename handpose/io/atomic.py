"""Files that are whole or not there."""

from __future__ import annotations

import os
from io import FileIO
from pathlib import Path


def write_atomically(path: Path, data: bytes) -> None:
    """Makes `data` the file's content; at any moment the file is the old one or the new one, whole.

    Raises:
        OSError: it cannot be written; the old file is as it was.
    """
    path = path.resolve()  # a link stays a link
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
    """Writes all of `data` to the file."""
    view = memoryview(data)
    while view:  # a disk that fills up takes a part first
        view = view[file.write(view) :]
