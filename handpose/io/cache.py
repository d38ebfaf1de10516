"""The cache of files that take long to create."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from filelock import FileLock

from handpose.io.warn import warn

_Content = TypeVar("_Content")


def cache_folder() -> Path:
    """Return `HANDPOSE_CACHE`, or `~/.cache/handpose` if it is not set. The folder may not exist."""
    return Path(os.environ.get("HANDPOSE_CACHE", Path.home() / ".cache" / "handpose"))


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
    try:
        return read(file)
    except FileNotFoundError:
        pass
    except (OSError, MemoryError):
        raise
    except Exception:  # noqa: S110 - damage has many symptoms, and another process may be replacing the file
        pass
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_name(f"{file.name}.lock")):
        try:
            return read(file)
        except FileNotFoundError:
            pass
        except (OSError, MemoryError):
            raise
        except Exception as error:
            warn(f"{file}: is damaged ({' '.join(str(error).split())[:200]}); it is regenerated")
        make()
    return read(file)
