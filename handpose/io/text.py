"""Reads text files of limited size, and describes what is wrong with them."""

from __future__ import annotations

from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from pathlib import Path

from handpose.errors import HandPoseError

MAX_SETTINGS_BYTES = 1 << 16
"""Maximum size in bytes of a settings file, such as that of a camera."""

MAX_LABELS_BYTES = 1 << 29
"""Maximum size in bytes of a file with the labels of a data set."""


def describe(error: Exception) -> str:
    """Return the problem with a document that a parser or a reader of its fields raised, as a short text."""
    text = " ".join(str(error).split())[:300]
    return f"{text} is missing" if isinstance(error, KeyError) else text or type(error).__name__


def as_unicode(text: str) -> str:
    """Return a text with escapes in place of the bytes of file names that are not UTF-8."""
    return text.encode(errors="backslashreplace").decode()


def read_limited(path: Path, max_bytes: int) -> bytes:
    """Read a file of at most `max_bytes` bytes.

    Raises:
        HandPoseError: The file cannot be read, or is too large.
    """
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except FileNotFoundError:
        raise HandPoseError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise HandPoseError(f"{path}: cannot be read ({error})") from None
    if len(data) > max_bytes:
        raise HandPoseError(f"{path}: expected a file of at most {max_bytes} bytes, got more")
    return data


def read_text(path: Path, max_bytes: int) -> str:
    """Read a UTF-8 file of at most `max_bytes` bytes, or a UTF-16 file with a byte order mark; the mark is removed.

    Raises:
        HandPoseError: The file cannot be read, is too large, or is not text.
    """
    try:
        data = read_limited(path, max_bytes)
        return data.decode("utf-16" if data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8-sig")
    except UnicodeError as error:
        raise HandPoseError(f"{path}: cannot be read as text ({error})") from None
