"""Output files, which replace existing ones only on request."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from handpose.errors import HandPoseError
from handpose.io.atomic import write_atomically


def refuse_existing(path: str | Path, *, force: bool, or_resume: bool = False) -> None:
    """Reject an output file that already exists.

    Args:
        path: The output.
        force: Whether it may be overwritten.
        or_resume: Whether the message also suggests to resume.

    Raises:
        HandPoseError: The file exists and may not be overwritten.
    """
    if not force and Path(path).exists():
        resume = ", or `resume=True` to continue" if or_resume else ""
        raise HandPoseError(f"{path}: already exists; pass `force=True` to overwrite it{resume}")


def require_folder(path: str | Path) -> None:
    """Check that the folder of an output exists, before the long work whose result it will contain.

    Raises:
        HandPoseError: The folder does not exist.
    """
    if not Path(path).absolute().parent.is_dir():
        raise HandPoseError(f"{path}: cannot be written, because the folder does not exist")


def write_output(path: str | Path, data: bytes, *, force: bool) -> None:
    """Write an output file atomically.

    Args:
        path: The output.
        data: Its content.
        force: Whether an existing file may be overwritten.

    Raises:
        HandPoseError: The file exists and may not be overwritten, or cannot be written.
    """
    refuse_existing(path, force=force)
    with writing(path):
        write_atomically(Path(path), data)


@contextlib.contextmanager
def writing(path: str | Path, error: type[HandPoseError] = HandPoseError) -> Iterator[None]:
    """Replace errors of the operating system in this block, which writes a file, by one that names the file."""
    try:
        yield
    except OSError as problem:
        raise error(f"{path}: cannot be written ({problem})") from None
