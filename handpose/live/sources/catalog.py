"""Access to sources by name."""

from __future__ import annotations

import importlib
from pathlib import Path

from handpose.errors import HandPoseError
from handpose.geometry.camera import Camera
from handpose.io.depth.units import DepthUnit
from handpose.live.sources.folder import frames as folder_frames
from handpose.recordings.frame import Source
from handpose.recordings.open import is_recording, open_recording, recorded_frames

LIVE_SOURCES = ("realsense", "orbbec")
"""Cameras: sources that do not wait for the consumer."""


def open_source(
    name: str, *, camera: Camera | None = None, unit: DepthUnit = "mm", fps: float = 30.0, topic: str | None = None
) -> Source:
    """Open a source of depth frames.

    Args:
        name: `realsense`, `orbbec`, `synthetic`, a folder of depth files, or a recording.
        camera: Intrinsics of a folder's images, or instead of those of a recording.
        unit: Unit of the depth values of a folder, or of a ROS bag that does not state it.
        fps: Frame rate of a folder or of the synthetic hand, in frames per second.
        topic: Topic of the depth images, if a ROS bag contains several.

    Raises:
        HandPoseError: There is no such source, or a folder was passed without a camera. Errors of the source itself
            are raised when the first frame is requested.
    """
    if name in LIVE_SOURCES:
        return importlib.import_module(f"handpose.live.sources.{name}").frames()  # type: ignore[no-any-return]
    if name == "synthetic":
        from handpose.live.sources.synthetic import frames  # imports torch

        return frames(fps=fps)
    path = Path(name)
    if path.is_dir() and not is_recording(path):
        if camera is None:
            raise HandPoseError(f"{path}: the frames of a folder need a camera; pass it with --camera")
        return folder_frames(path, camera, unit=unit, fps=fps)
    if path.exists():
        return recorded_frames(open_recording(path, topic=topic, camera=camera, unit=unit))
    raise HandPoseError(
        f"{name}: no such source; expected {', '.join(LIVE_SOURCES)}, synthetic, a folder, or a recording"
    )
