"""Sources by name."""

from __future__ import annotations

import importlib
from pathlib import Path

from handpose.errors import HandPoseError
from handpose.geometry.camera import Camera
from handpose.io.depth.units import DepthUnit
from handpose.live.frame import Source
from handpose.live.sources.folder import frames as folder_frames
from handpose.live.sources.recording import frames as recorded_frames

LIVE_SOURCES = ("realsense", "orbbec")
"""The sources that give frames in their own time."""


def open_source(name: str, *, camera: Camera | None = None, unit: DepthUnit = "mm", fps: float = 30.0) -> Source:
    """The frames of a source.

    Args:
        name: `realsense`, `orbbec`, `synthetic`, a folder of depth files, or a recording.
        camera: a folder's.
        unit: of a folder's files.
        fps: of a folder or the synthetic hand, frames per second.

    Raises:
        HandPoseError: there is no such source, or a folder is given without a camera. What a source itself has to
            say comes with its first frame.
    """
    if name in LIVE_SOURCES:
        return importlib.import_module(f"handpose.live.sources.{name}").frames()  # type: ignore[no-any-return]
    if name == "synthetic":
        from handpose.live.sources.synthetic import frames  # brings torch

        return frames(fps=fps)
    path = Path(name)
    if path.is_dir():
        if camera is None:
            raise HandPoseError(f"{path}: frames of a folder need their camera; give it with --camera")
        return folder_frames(path, camera, unit=unit, fps=fps)
    if path.is_file():
        return recorded_frames(path)
    raise HandPoseError(
        f"{name}: no such source; expected {', '.join(LIVE_SOURCES)}, synthetic, a folder, or a recording"
    )
