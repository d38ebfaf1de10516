"""The cache of files that take long to create."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from filelock import FileLock

from handpose.errors import HandPoseError
from handpose.io.warn import warn

_Content = TypeVar("_Content")


class _DamagedError(Exception):
    """A file in the cache is damaged."""


def cache_folder() -> Path:
    """Return `HANDPOSE_CACHE`, or `~/.cache/handpose` if it is not set or empty. The folder may not exist.

    Raises:
        HandPoseError: `HANDPOSE_CACHE` is not set, and the user has no home directory.
    """
    try:
        return Path(os.environ.get("HANDPOSE_CACHE") or "~/.cache/handpose").expanduser()
    except RuntimeError:  # as in a container whose user has no entry in the list of users
        raise HandPoseError("there is no home directory for the cache; set HANDPOSE_CACHE to a folder") from None


def cached(file: Path, make: Callable[[], object], read: Callable[[Path], _Content]) -> _Content:
    """Read a file, after creating it if it does not exist or is damaged. One process creates it, and others wait.

    Args:
        file: File in the cache.
        make: Writes the file atomically.
        read: Reads the file. If the file is damaged, raises an exception other than `OSError` and `MemoryError`.

    Raises:
        OSError: The file cannot be read or written.

    Warns:
        UserWarning: The file is damaged.
    """
    with contextlib.suppress(FileNotFoundError, _DamagedError):  # another process may be replacing the file
        return _read(file, read)
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_name(f"{file.name}.lock")):
        try:
            return _read(file, read)
        except FileNotFoundError:
            pass
        except _DamagedError as error:
            warn(f"{file}: is damaged ({' '.join(str(error).split())[:200]}); it is regenerated")
        make()
    return read(file)


def _read(file: Path, read: Callable[[Path], _Content]) -> _Content:
    """Read a file, and sort out the many symptoms of damage."""
    try:
        return read(file)
    except (OSError, MemoryError):
        raise
    except Exception as error:
        raise _DamagedError(error) from None
