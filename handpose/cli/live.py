"""`handpose live`."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from handpose.cli.command import WINDOW
from handpose.cli.console import activities, print_row, say, warnings_as_lines
from handpose.cli.options import (
    Backend,
    Camera,
    Device,
    Extrinsics,
    Force,
    Joints,
    Meters,
    Model,
    Precision,
    Topic,
    Unit,
    Views,
    parse_camera,
    parse_keypoints,
    parse_unit,
)
from handpose.cli.signals import exit_on_broken_pipe
from handpose.errors import HandPoseError, SourceLostError
from handpose.io.choices import HandOrAuto
from handpose.io.extras import require_extra
from handpose.io.outputs import refuse_existing
from handpose.io.warn import SkippedFrameWarning

if TYPE_CHECKING:
    from handpose.live.browser_viewer import BrowserViewer
    from handpose.live.rerun_viewer import RerunViewer

_STATISTICS_INTERVAL_S = 5.0


def live(
    source: Annotated[
        str,
        typer.Argument(metavar="SOURCE", help="realsense or orbbec[:SERIAL], synthetic, a folder, or a recording."),
    ],
    model: Model = "msra",
    hand: Annotated[HandOrAuto, typer.Option(help="Which hands the frames show; auto predicts it.")] = "right",
    max_hands: Annotated[int, typer.Option(metavar="N", min=1, help="Maximum number of hands to track.")] = 1,
    record: Annotated[Path | None, typer.Option(metavar="FILE", help="Record the processed frames.")] = None,
    view: Annotated[
        str | None,
        typer.Option(
            "--view",
            metavar="[FILE.rrd|URL]",
            help="Show frames and hands in Rerun (extra `view`).",
        ),
    ] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Show frames and hands in the browser, for this machine only.")
    ] = False,
    mcap: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write the hands as ROS 2 messages to this MCAP file."),
    ] = None,
    udp: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Also send each line of JSON to this address by UDP.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="JSON lines.", show_default="stdout")
    ] = None,
    joints: Joints = None,
    meters: Meters = False,
    extrinsics: Extrinsics = None,
    frames: Annotated[int | None, typer.Option(metavar="N", min=1, help="Stop after this many frames.")] = None,
    camera: Camera = None,
    unit: Unit = "mm",
    topic: Topic = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="WxH", help="Image size of a camera.", show_default="640x480"),
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(metavar="FPS", min=0.1, help="Frame rate, except for recordings.", show_default="30"),
    ] = None,
    real_time: Annotated[
        bool,
        typer.Option(
            "--real-time",
            help="Play sources other than cameras in real time.",
        ),
    ] = False,
    device: Device = "auto",
    backend: Backend = "auto",
    precision: Precision = "float32",
    views: Views = 1,
    force: Force = False,
) -> None:
    """Track hands in a stream of depth frames.

    Writes one line of JSON per hand and frame. --view opens a window; with FILE.rrd it writes a file instead, and with
    a URL such as rerun+http://HOST:9876/proxy it sends to a viewer on another machine.

    Stops at the end of the source, after --frames, or on Ctrl-C. A frame that cannot be read is skipped, with a
    warning. Exit code: 0 success, 1 some frames were skipped, or the camera was lost (earlier results and recorded
    frames are kept), 2 usage error, no camera, or no frame could be read.
    """
    from handpose.inference.estimator import HandPoseEstimator
    from handpose.inference.tracker import HandTracker
    from handpose.live.outputs import open_outputs
    from handpose.live.session import open_paced, run_session
    from handpose.live.statistics import Statistics
    from handpose.recordings.mcap import Recorder
    from handpose.results.keypoint_records import keypoint_adder

    if view is not None:
        require_extra("view", "--view")
    for path in (record, mcap, output):
        if path is not None and path.resolve() == Path(source).resolve():
            raise HandPoseError(f"{path}: is the source; results must go elsewhere")
        if path is not None:
            refuse_existing(path, force=force)
    arrivals = open_paced(
        source,
        camera=parse_camera(camera),
        unit=parse_unit(unit),
        fps=fps,
        real_time=real_time,
        topic=topic,
        size=_parse_size(size),
    )

    lost: SourceLostError | None = None
    with contextlib.ExitStack() as stack:
        warnings = stack.enter_context(warnings_as_lines())
        stack.enter_context(exit_on_broken_pipe())
        with activities():
            estimator = HandPoseEstimator.from_pretrained(
                model,
                device=device,
                backend=backend,  # type: ignore[arg-type] # checked there
                precision=precision,
                views=views,  # type: ignore[arg-type] # checked there
            )
        add_keypoints = keypoint_adder(parse_keypoints(joints, meters, extrinsics), estimator.layout)
        tracker = HandTracker(estimator, max_hands=max_hands, hand=hand)
        recorder = None if record is None else stack.enter_context(contextlib.closing(Recorder(record, force=force)))
        viewers = [stack.enter_context(contextlib.closing(viewer)) for viewer in _open_viewers(view, show, force)]
        results = None if output is None else stack.enter_context(_open_output(output))
        others = [stack.enter_context(contextlib.closing(other)) for other in open_outputs(mcap, udp)]
        session = run_session(arrivals, tracker, recorder=recorder, viewers=viewers, max_frames=frames)
        total, recent = Statistics(), Statistics()
        try:
            for arrival, tracks in stack.enter_context(contextlib.closing(session)):
                hands = [replace(each, pose=add_keypoints(each.pose)) for each in tracks]
                for tracked in hands:
                    print(json.dumps(tracked.to_dict()), file=results, flush=results is None)
                for other in others:
                    other.write(arrival.frame.time, hands)
                total.add(arrival)
                recent.add(arrival)
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
    if lost is not None or warnings[SkippedFrameWarning]:
        raise typer.Exit(1)


def _parse_size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"([1-9]\d*)[xX]([1-9]\d*)", text)
    if match is None:
        raise typer.BadParameter(f"expected --size WxH, such as 848x480, got {text!r}")
    return int(match[1]), int(match[2])


def _open_viewers(view: str | None, show: bool, force: bool) -> Iterator[RerunViewer | BrowserViewer]:
    if view is not None:
        yield _open_rerun(view, force)
    if show:
        from handpose.live.browser_viewer import BrowserViewer

        yield (viewer := BrowserViewer())
        say(viewer.address)
        typer.launch(viewer.address)


def _open_rerun(view: str, force: bool) -> RerunViewer:
    from handpose.live.rerun_viewer import ADDRESS, RerunViewer

    if view != WINDOW and not view.endswith(".rrd") and not view.startswith(ADDRESS):
        raise HandPoseError(f"--view {view}: expected a file that ends with .rrd, or rerun+http://HOST:9876/proxy")
    return RerunViewer(None if view == WINDOW else view, force=force)


def _open_output(path: Path) -> IO[str]:
    try:
        return path.open("w", encoding="utf-8")
    except OSError as error:
        raise HandPoseError(f"{path}: cannot be written ({error})") from None
