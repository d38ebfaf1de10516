"""Issues warnings that name the line of the user's code."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple

_PACKAGE = str(Path(__file__).parents[1]) + os.sep

AS_BEFORE = " (as in an earlier image)"
"""The end of a message that was found in an earlier image of a job, and is likely to hold for this one."""


class Note(NamedTuple):
    """A warning that was not issued yet.

    Attributes:
        message: The problem and how to fix it.
        category: Its category.
        image: Name of the image that it concerns, or empty.
        is_named: Whether the text of the warning starts with this name.
    """

    message: str
    category: type[Warning]
    image: str = ""
    is_named: bool = True

    def issue(self) -> None:
        """Issue the warning, or append it to the notes of `collect_warnings`."""
        notes = _notes.get()
        if notes is not None:
            notes.append(self)
            return
        # Python 3.12's `skip_file_prefixes` does this, but 3.10 is supported.
        level, frame = 1, sys._getframe()
        while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
            level, frame = level + 1, frame.f_back
        warnings.warn(self.text, self.category, stacklevel=level)

    @property
    def text(self) -> str:
        """The text of the warning."""
        return f"{self.image}: {self.message}" if self.image and self.is_named else self.message


class InputWarning(UserWarning):
    """The camera, the unit or the image is implausible, so the joints may be wrong.

    Jobs of several files name the first file that a warning concerns. Otherwise, messages of this class itself contain
    neither a file name nor a measured value, so repeated warnings are equal.
    """


class SkippedFrameWarning(UserWarning):
    """A frame was skipped because it could not be read or predicted."""


_notes: ContextVar[list[Note] | None] = ContextVar("notes", default=None)


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Issue a warning that names the line outside this package that called it."""
    Note(message, category).issue()


def warn_skipped(name: str, error: Exception | str) -> None:
    """Issue a warning that a frame was skipped because of an error. Its message may already contain the name."""
    text = str(error)
    warn(f"skipped {text if name in text else f'{name}: {text}'}", SkippedFrameWarning)


def kind(message: str, category: type[Warning]) -> tuple[str, str]:
    """Return a key that is equal for warnings of which a job issues only one."""
    if issubclass(category, InputWarning) and category is not InputWarning:
        bases = category.__mro__
        return bases[bases.index(InputWarning) - 1].__name__, ""
    return category.__name__, message.removesuffix(AS_BEFORE)


@contextlib.contextmanager
def collect_warnings(notes: list[Note]) -> Iterator[None]:
    """Append the warnings of this thread to `notes`, because no line of user code called the worker thread."""
    token = _notes.set(notes)
    try:
        yield
    finally:
        _notes.reset(token)
