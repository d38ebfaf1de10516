"""The package's one exception family: what the caller can put right.

Every message says what was expected, what came, and what to do.
"""


class HandPoseError(Exception):
    """Base of all errors raised on purpose."""


class DepthReadError(HandPoseError):
    """A file could not be read as depth."""


class WeightsError(HandPoseError):
    """Weights could not be found, fetched, verified or loaded."""


class SourceLostError(HandPoseError):
    """A camera stopped giving frames."""


class DeviceMemoryError(MemoryError):
    """The device that runs a network has too little memory for what it was given."""
