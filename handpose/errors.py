"""The package's one exception family."""


class HandPoseError(Exception):
    """Something the caller can put right: the message says what was expected, what came, what to do."""


class DepthReadError(HandPoseError):
    """A depth file could not be read as depth."""


class WeightsError(HandPoseError):
    """Weights could not be found, fetched, verified or loaded."""
