"""More frames than one machine can do: shards of an object store, predicted on a Ray cluster. Needs the extra `ray`."""

from handpose.scale.predictor import HandPosePredictor

__all__ = ["HandPosePredictor"]
