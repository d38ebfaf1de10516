"""The rule for existing outputs: they are replaced only on request."""

from __future__ import annotations

from pathlib import Path

from handpose.errors import HandPoseError


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
