"""Where files are kept that take long to make."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from filelock import FileLock

from handpose.io.warn import warn

_Content = TypeVar("_Content")


def cache_folder() -> Path:
    """`HANDPOSE_CACHE`, else `~/.cache/handpose`; not made yet."""
    return Path(os.environ.get("HANDPOSE_CACHE", Path.home() / ".cache" / "handpose"))


def cached(file: Path, make: Callable[[], object], read: Callable[[Path], _Content]) -> _Content:
    """The content of a file that is made the first time, by one process while others wait, and again if it is damaged.

    Args:
        file: in the cache.
        make: writes the file, atomically.
        read: gives the content, or raises what is neither an `OSError` nor a `MemoryError` if the file is damaged.

    Raises:
        OSError: the file cannot be read or written.

    Warns:
        UserWarning: the file is damaged.
    """
    try:
        return read(file)
    except FileNotFoundError:
        pass
    except (OSError, MemoryError):
        raise
    except Exception:  # noqa: S110 - a torn file fails in many ways, and another process may be mending it
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
            warn(f"{file}: is damaged ({' '.join(str(error).split())[:200]}); it is made again")
        make()
    return read(file)
