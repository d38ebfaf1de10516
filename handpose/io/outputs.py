"""Output files, which replace existing ones only on request."""

from __future__ import annotations

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
    try:
        write_atomically(Path(path), data)
    except OSError as error:
        raise HandPoseError(f"{path}: cannot be written ({error})") from None
