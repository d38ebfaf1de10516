"""Opens recordings of all supported formats."""

from __future__ import annotations

from pathlib import Path

from handpose.errors import HandPoseError
from handpose.geometry.camera import Camera
from handpose.io.depth.units import DepthUnit
from handpose.io.inputs import RECORDINGS
from handpose.io.warn import warn, warn_skipped
from handpose.recordings.frame import Source
from handpose.recordings.hpr import open_hpr
from handpose.recordings.mcap import is_own, open_own
from handpose.recordings.recording import Recording
from handpose.recordings.ros import open_ros


def is_recording(path: Path) -> bool:
    """Return whether a path is that of a recording: a file with its extension, or the folder of a ROS 2 bag."""
    return path.suffix.lower() in RECORDINGS or (path / "metadata.yaml").is_file()


def open_recording(
    path: str | Path, *, topic: str | None = None, camera: Camera | None = None, unit: DepthUnit = "mm"
) -> Recording:
    """Open the recording of a depth camera.

    Args:
        path: A file that this package, ROS or a RealSense camera recorded, or the folder of a ROS 2 bag.
        topic: Topic of the depth images, if a ROS bag contains several.
        camera: Intrinsics, instead of those of the recording.
        unit: Unit of the 16-bit values of a ROS bag that does not contain the unit.

    Raises:
        HandPoseError: The file is not a recording, or cannot be read.
    """
    path = Path(path)
    try:
        own = path.is_file() and is_own(path)
    except OSError as error:
        raise HandPoseError(f"{path}: cannot be read ({error})") from None
    suffix = path.suffix.lower()
    if own or not (path.is_dir() or (suffix in RECORDINGS and suffix != ".hpr")):
        if topic is not None:
            raise HandPoseError(f"{path}: was recorded by handpose, so it has no topic {topic}")
        if unit != "mm":
            warn(f"{path}: contains the unit of its depth values, so the unit {unit} is ignored")
        return open_own(path, camera) if own else open_hpr(path, camera)
    return open_ros(path, topic=topic, camera=camera, unit=unit)


def recorded_frames(recording: Recording) -> Source:
    """Yield the frames of a recording.

    Raises:
        HandPoseError: The recording cannot be read.

    Warns:
        SkippedFrameWarning: A frame is damaged.
    """
    for stored in recording.read():
        try:
            frame = stored.decode()
        except HandPoseError as error:
            warn_skipped(str(stored.path), error)
            continue
        yield frame._replace(source=str(stored.path))
