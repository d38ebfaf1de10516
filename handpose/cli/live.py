"""`handpose live`."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from handpose.cli.console import activities, print_row, say, warnings_as_lines
from handpose.cli.groups import Engine, Images, KeypointOptions
from handpose.cli.live_outputs import LiveOutputs
from handpose.cli.options import Model, Side
from handpose.cli.signals import exit_on_broken_pipe, interrupt_on_sigterm
from handpose.errors import SourceLostError
from handpose.io.choices import DEFAULT_HAND
from handpose.io.inputs import check_input
from handpose.io.warn import SkippedFrameWarning

if TYPE_CHECKING:
    from handpose.live.pacing import Arrival

_STATISTICS_INTERVAL_S = 5.0


@dataclass(frozen=True)
class Playback:
    """How a source is played."""

    size: Annotated[
        str | None,
        typer.Option(metavar="WxH", help="Image size of a camera.", show_default="640x480"),
    ] = None
    fps: Annotated[
        float | None,
        typer.Option(metavar="FPS", min=0.1, help="Frame rate, not for recordings.", show_default="30"),
    ] = None
    real_time: Annotated[bool, typer.Option("--real-time", help="Play sources other than cameras in real time.")] = (
        False
    )

    def open(self, source: str, images: Images) -> Generator[Arrival, None, None]:
        """Open a source."""
        from handpose.live.session import open_paced

        size = None
        if self.size is not None:
            match = re.fullmatch(r"([1-9]\d*)[xX]([1-9]\d*)", self.size)
            if match is None:
                raise typer.BadParameter(f"expected --size WxH, such as 848x480, got {self.size!r}")
            size = int(match[1]), int(match[2])
        camera, unit = images.parse()
        return open_paced(
            source, camera=camera, unit=unit, fps=self.fps, real_time=self.real_time, topic=images.topic, size=size
        )


def live(
    source: Annotated[
        str,
        typer.Argument(metavar="SOURCE", help="realsense or orbbec[:SERIAL], synthetic, a folder, or a recording."),
    ],
    outputs: LiveOutputs,
    keypoints: KeypointOptions,
    images: Images,
    playback: Playback,
    engine: Engine,
    model: Model = "msra",
    hand: Side = DEFAULT_HAND,
    max_hands: Annotated[int, typer.Option(metavar="N", min=1, help="Maximum number of hands to track.")] = 1,
    frames: Annotated[int | None, typer.Option(metavar="N", min=1, help="Stop after this many frames.")] = None,
) -> None:
    """Track hands in a stream of depth frames.

    Writes one line of JSON per hand and frame. --view opens a window; with FILE.rrd it writes a file instead, and with
    a URL such as rerun+http://HOST:9876/proxy it sends to a viewer on another machine.

    Stops at the end of the source, after --frames, on Ctrl-C or on SIGTERM. A frame that cannot be read is skipped,
    with a warning. Exit code: 0 success, 1 some frames were skipped, or the camera was lost (earlier results and
    recorded frames are kept), 2 usage error, no camera, or no frame could be read, 143 SIGTERM.
    """
    from handpose.inference.tracker import HandTracker
    from handpose.live.session import run_session
    from handpose.live.statistics import Statistics
    from handpose.results.keypoint_records import keypoint_adder

    check_input(source)
    outputs.check(source)
    arrivals = playback.open(source, images)

    lost: SourceLostError | None = None
    with contextlib.ExitStack() as stack:
        outputs.lock(stack)
        warnings = stack.enter_context(warnings_as_lines())
        stack.enter_context(exit_on_broken_pipe())
        with activities():
            estimator = engine.load(model)
        add_keypoints = keypoint_adder(keypoints.parse(), estimator.layout)
        tracker = HandTracker(estimator, max_hands=max_hands, hand=hand)
        recorder, viewers = outputs.open_recorder(stack), outputs.open_viewers(stack)
        results = outputs.open_results(stack)
        session = run_session(arrivals, tracker, recorder=recorder, viewers=viewers, max_frames=frames)
        total, recent = Statistics(), Statistics()
        stops = stack.enter_context(interrupt_on_sigterm())
        try:
            for arrival, tracks in stack.enter_context(contextlib.closing(session)):
                results.write(arrival.frame.time, [replace(each, pose=add_keypoints(each.pose)) for each in tracks])
                total.add(arrival, len(tracks))
                recent.add(arrival, len(tracks))
                if recent.seconds > _STATISTICS_INTERVAL_S:
                    print_row(recent.row())
                    recent = Statistics()
        except KeyboardInterrupt:
            pass
        except SourceLostError as error:
            lost = error
    print_row(total.row())
    if lost is not None:
        say(f"error: {lost}")
    if stops:
        raise typer.Exit(128 + stops[0])
    if lost is not None or warnings[SkippedFrameWarning]:
        raise typer.Exit(1)
