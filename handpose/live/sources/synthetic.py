"""A rendered hand in motion: what a camera would give, without one."""

from __future__ import annotations

from handpose.geometry.layouts import MSRA21
from handpose.live.frame import DepthFrame, Source
from handpose.synthetic.animation import CAMERA, animate


def frames(*, fps: float = 30.0, seed: int = 0) -> Source:
    """Endless frames of one right hand before a person, 320 x 240.

    Args:
        fps: frames per second of the animation; rendering one takes longer or shorter than that.
        seed: the same gives the same frames.

    Raises:
        HandPoseError: the hand has not been made yet, and that needs the extra `train`.
    """
    for frame in animate(MSRA21, fps=fps, seed=seed):
        yield DepthFrame(frame.depth, CAMERA, frame.time)
