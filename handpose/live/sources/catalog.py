"""Access to sources by name."""

from __future__ import annotations

import contextlib
import importlib
from pathlib import Path

from handpose.errors import HandPoseError
from handpose.geometry.camera import Camera
from handpose.io.depth.read import SUFFIXES
from handpose.io.depth.units import DepthUnit
from handpose.io.inputs import check_input
from handpose.live.sources.folder import frames as folder_frames
from handpose.live.sources.sdk import ConnectedCamera, Size
from handpose.recordings.frame import Source
from handpose.recordings.open import is_recording, open_recording, recorded_frames

LIVE_SOURCES = ("realsense", "orbbec")
"""Cameras: sources that do not wait for the consumer."""


_DEFAULT_FPS = 30.0


def is_camera(name: str) -> bool:
    """Return whether the name of a source is that of a camera: `realsense`, `realsense:SERIAL`, ..."""
    return name.partition(":")[0] in LIVE_SOURCES


def list_cameras() -> tuple[list[ConnectedCamera], list[str]]:
    """Return the connected cameras, and one message per manufacturer whose cameras cannot be listed."""
    found, problems = list[ConnectedCamera](), list[str]()
    for name in LIVE_SOURCES:
        try:
            found += importlib.import_module(f"handpose.live.sources.{name}").cameras()
        except HandPoseError as error:
            problems.append(str(error))
    return found, problems


def open_source(
    name: str,
    *,
    camera: Camera | None = None,
    unit: DepthUnit = "mm",
    fps: float | None = None,
    topic: str | None = None,
    size: Size | None = None,
) -> Source:
    """Open a source of depth frames.

    Args:
        name: `realsense` or `orbbec`, optionally followed by `:` and the serial number of the camera; `synthetic`; a
            folder of depth files; or a recording.
        camera: Intrinsics of a folder's images, which are assumed without it, or instead of those of a recording.
        unit: Unit of the depth values of a folder, or of a ROS bag that does not contain the unit.
        fps: Frames per second of a camera, a folder or the synthetic hand; 30 by default.
        topic: Topic of the depth images, if a ROS bag contains several.
        size: Width and height of a camera's images; by default 640 x 480 for `realsense`, and the camera's default for
            `orbbec`.

    Raises:
        HandPoseError: There is no such source, or an argument does not apply to the source. Errors of the source itself
            are raised when the first frame is requested.
    """
    check_input(name)
    if fps is not None and not fps > 0:
        raise HandPoseError(f"the frame rate must be above 0, got {fps}")
    if is_camera(name):
        kind, _, serial = name.partition(":")
        module = importlib.import_module(f"handpose.live.sources.{kind}")
        _check_unused(name, camera, unit, topic)
        return _named(name, module.frames(serial=serial or None, size=size, fps=fps))
    if size is not None:
        raise HandPoseError(f"{name}: the size can only be chosen for cameras; omit it")
    if name == "synthetic":
        from handpose.live.sources.synthetic import frames  # imports torch

        _check_unused(name, camera, unit, topic)
        return _named(name, frames(fps=fps or _DEFAULT_FPS))
    path = Path(name)
    if path.is_dir() and not is_recording(path):
        _check_unused(name, None, "mm", topic)
        return folder_frames(path, camera, unit=unit, fps=fps or _DEFAULT_FPS)
    if path.is_file() and path.suffix.lower() in SUFFIXES:
        raise HandPoseError(f"{path}: is an image, not a stream; use handpose predict, or pass its folder")
    if path.exists():
        if fps is not None:
            raise HandPoseError(f"{path}: a recording contains the times of its frames; omit the frame rate")
        return recorded_frames(open_recording(path, topic=topic, camera=camera, unit=unit))
    raise HandPoseError(
        f"{name}: no such source; expected {', '.join(LIVE_SOURCES)}, synthetic, a folder, or a recording"
    )


def _check_unused(name: str, camera: Camera | None, unit: DepthUnit, topic: str | None) -> None:
    """Reject arguments that a source would ignore."""
    if camera is not None or unit != "mm":
        raise HandPoseError(f"{name}: the source provides its intrinsics and its unit; omit the camera and the unit")
    if topic is not None:
        raise HandPoseError(f"{name}: only ROS bags have topics; omit the topic")


def _named(name: str, frames: Source) -> Source:
    """Yield frames with the name of their source."""
    with contextlib.closing(frames):
        for frame in frames:
            yield frame._replace(source=name)
