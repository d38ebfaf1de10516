"""A live session: hands are tracked through a paced source, and its frames recorded and shown."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

import numpy as np

from handpose.errors import HandPoseError
from handpose.geometry.camera import Camera
from handpose.inference.frame_times import FrameTimesWarning
from handpose.inference.tracker import HandTracker, TrackedHand
from handpose.io.depth.units import DepthUnit
from handpose.io.warn import Note, collect_warnings, warn_skipped
from handpose.live.pacing import Arrival, all_frames, in_real_time, newest_frame
from handpose.live.sources.catalog import is_camera, open_source
from handpose.live.sources.sdk import Size
from handpose.recordings.frame import DepthFrame
from handpose.recordings.mcap import Recorder


class Viewer(Protocol):
    """A viewer of tracked hands."""

    def show(self, frame: DepthFrame, hands: Sequence[TrackedHand]) -> None:
        """Show a frame and its hands."""
        ...


class SessionFrame(NamedTuple):
    """A frame of a session and the hands tracked in it."""

    arrival: Arrival
    hands: list[TrackedHand]


def open_paced(
    name: str,
    *,
    camera: Camera | None = None,
    unit: DepthUnit = "mm",
    fps: float | None = None,
    real_time: bool = False,
    topic: str | None = None,
    size: Size | None = None,
) -> Generator[Arrival, None, None]:
    """Open a source; older frames of cameras are dropped, and all frames of other sources are kept.

    Args:
        name: Name of the source, as for `open_source`.
        camera: Intrinsics, as for `open_source`.
        unit: Unit of the depth values, as for `open_source`.
        fps: Frames per second, as for `open_source`.
        real_time: Play folders, recordings and synthetic hands in real time, dropping frames like a camera.
        topic: Topic of the depth images, as for `open_source`.
        size: Width and height of a camera's images, as for `open_source`.

    Raises:
        HandPoseError: The source does not exist.
    """
    source = open_source(name, camera=camera, unit=unit, fps=fps, topic=topic, size=size)
    if is_camera(name):
        return newest_frame(source)
    return newest_frame(in_real_time(source)) if real_time else all_frames(source)


def run_session(
    arrivals: Generator[Arrival, None, None],
    tracker: HandTracker,
    *,
    recorder: Recorder | None = None,
    viewers: Sequence[Viewer] = (),
    max_frames: int | None = None,
) -> Generator[SessionFrame, None, None]:
    """Record, track and show the frames of a source, and yield each frame with its hands.

    Closing the generator releases the camera.

    Args:
        arrivals: Frames of the source.
        tracker: Tracker of the hands.
        recorder: Recorder of the processed frames.
        viewers: Viewers of the frames and hands.
        max_frames: Stop after this many frames.

    Raises:
        SourceLostError: The connection to the camera was lost.
        HandPoseError: The source contains no complete frame, or the recording cannot be written.

    Warns:
        SkippedFrameWarning: A frame cannot be predicted, or its time is not after that of an earlier one, as after a
            clock was set back. A camera may repeat a frame, though.
    """
    frames, last_time, last_depth = 0, -math.inf, np.empty(0)
    with contextlib.closing(arrivals):
        for arrival in arrivals:
            frame = arrival.frame
            if frame.time <= last_time:
                # The texts are always the same, because many frames may follow until the clock has caught up.
                if frame.time < last_time:
                    warn_skipped("a frame", HandPoseError("its time is before that of an earlier one"))
                elif not np.array_equal(frame.depth, last_depth):
                    warn_skipped("a frame", HandPoseError("another frame has the same time"))
                continue
            last_time, last_depth = frame.time, frame.depth
            if recorder is not None:
                recorder.write(frame)
            try:
                hands = _track(tracker, frame)
            except HandPoseError as error:
                warn_skipped(f"frame at {frame.time:g} s", error)
                continue
            hands = [replace(hand, pose=replace(hand.pose, source=frame.source)) for hand in hands]
            yield SessionFrame(arrival, hands)
            for viewer in viewers:
                viewer.show(frame, hands)
            frames += 1
            if frames == max_frames:
                return
    if not frames:
        raise HandPoseError("the source ended, but no complete frame was received")


def _track(tracker: HandTracker, frame: DepthFrame) -> list[TrackedHand]:
    """Track the hands in a frame, whose time is in seconds, even if the frames are far apart."""
    notes: list[Note] = []
    with collect_warnings(notes):
        hands = tracker.update_frame(frame)
    for note in notes:
        if note.category is not FrameTimesWarning:
            note.issue()
    return hands
