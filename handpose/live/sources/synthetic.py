"""An animated synthetic hand, for use without a camera."""

from __future__ import annotations

from handpose.geometry.layouts import MSRA21
from handpose.recordings.frame import DepthFrame, Source
from handpose.synthetic.animation import CAMERA, animate


def frames(*, fps: float = 30.0, seed: int = 0) -> Source:
    """Yield 320 x 240 frames of a right hand in front of a person, without end.

    Args:
        fps: Frames per second of the animation, which do not depend on the time that rendering takes.
        seed: Seed of the animation; equal seeds produce equal frames.

    Raises:
        HandPoseError: The hand model has not been generated yet, which requires the extra `train`.
    """
    for frame in animate(MSRA21, fps=fps, seed=seed):
        yield DepthFrame(frame.depth, CAMERA, frame.time)
