"""Text files, read whole once they are known to be small enough."""

from __future__ import annotations

from pathlib import Path

from handpose.errors import HandPoseError

SETTINGS = 1 << 16
"""Bytes that no file of settings, such as a camera's, comes near."""

LABELS = 1 << 29
"""Bytes that no data set's labels come near."""


def read_text(path: Path, largest: int) -> str:
    """The text of a UTF-8 file of no more than `largest` bytes, without byte order mark.

    Raises:
        HandPoseError: it cannot be read, is larger, or is not text.
    """
    try:
        with path.open("rb") as file:
            data = file.read(largest + 1)
        if len(data) > largest:
            raise HandPoseError(f"{path}: expected a text file of at most {largest} bytes, got more")
        return data.decode("utf-8-sig")
    except FileNotFoundError:
        raise HandPoseError(f"{path}: no such file; expected a text file") from None
    except (OSError, ValueError) as error:
        raise HandPoseError(f"{path}: cannot be read as text ({error})") from None
