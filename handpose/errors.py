"""Exceptions for errors that the caller can fix.

Each message states what was expected, what was received, and how to fix it. It names arguments as in Python, such as
`force=True`; the command line prints them as options.
"""

_MAX_CHARS = 100  # of a value in a message


def brief(value: object) -> str:
    """Return a value, such as an array, as a short text without line breaks, for a message."""
    text = " ".join(repr(value).split())
    return text if len(text) <= _MAX_CHARS else f"{text[:_MAX_CHARS]}..."


class HandPoseError(Exception):
    """Base class of all errors that the caller can fix."""


class DepthReadError(HandPoseError):
    """A file cannot be read as depth."""


class UnknownJointError(HandPoseError, KeyError):
    """A layout does not contain a joint of this name."""

    __str__ = Exception.__str__  # that of `KeyError` adds quotation marks


class WeightsError(HandPoseError):
    """Weights cannot be found, downloaded, verified or loaded."""


class SourceLostError(HandPoseError):
    """The connection to a camera was lost."""


class DeviceMemoryError(MemoryError):
    """The device that runs the network has too little memory for the batch."""
