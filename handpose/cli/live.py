"""The command line for cameras: hands as they move."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import IO, Annotated

import typer

from handpose.cli.console import say, say_row, warnings_as_lines
from handpose.cli.options import Hand, parse_unit
from handpose.cli.signals import exit_on_broken_pipe
from handpose.errors import HandPoseError, SourceLostError

_STATISTICS_INTERVAL_S = 5.0


def live(
    source: Annotated[
        str, typer.Argument(help="realsense, orbbec, synthetic, a folder of depth files, or a recording.")
    ],
    model: Annotated[str, typer.Option("--model", "-m", help="As in `handpose predict`.")] = "msra",
    hand: Annotated[Hand, typer.Option(help="Which hands they are.")] = Hand.right,
    max_hands: Annotated[int, typer.Option(min=1, help="How many hands to follow.")] = 1,
    record: Annotated[Path | None, typer.Option(metavar="FILE", help="Record the frames that are processed.")] = None,
    view: Annotated[bool, typer.Option("--view", help="Show everything in Rerun. Needs the extra `view`.")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where results go instead of stdout.")] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Stop after so many.")] = None,
    camera: Annotated[str | None, typer.Option("--camera", "-c", help="A folder's, as in `handpose predict`.")] = None,
    unit: Annotated[str, typer.Option(help="A folder's, as in `handpose predict`.")] = "mm",
    fps: Annotated[float, typer.Option(min=0.1, help="Of a folder or the synthetic hand.")] = 30.0,
    real_time: Annotated[
        bool, typer.Option("--real-time", help="Play what is no camera at its own speed, dropping frames like one.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that are there.")] = False,
) -> None:
    """Follow hands through a stream of depth frames and write a line of JSON per hand and frame.

    Ends with the source, after --frames, or with Ctrl-C. Exit code: 0 all fine, 1 the camera was lost (what was
    recorded and written until then is kept), 2 wrong usage or no camera.
    """
    from handpose.geometry.camera import Camera
    from handpose.inference.estimator import HandPoseEstimator
    from handpose.inference.tracker import HandTracker
    from handpose.live.rerun_viewer import RerunViewer
    from handpose.live.session import open_paced, run_session
    from handpose.live.sources.recording import Recorder
    from handpose.live.statistics import Statistics

    for path in (record, output):
        if path is not None and path.resolve() == Path(source).resolve():
            raise typer.BadParameter(f"{path}: is the source; results must go elsewhere")
        if path is not None and path.exists() and not force:
            raise typer.BadParameter(f"{path}: already exists; pass --force to overwrite it")
    parsed_camera = None if camera is None else Camera.parse(camera)
    arrivals = open_paced(source, camera=parsed_camera, unit=parse_unit(unit), fps=fps, real_time=real_time)

    lost: SourceLostError | None = None
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings_as_lines())
        stack.enter_context(exit_on_broken_pipe())
        tracker = HandTracker(
            HandPoseEstimator.from_pretrained(model, device=device), max_hands=max_hands, hand=hand.value
        )
        recorder = None if record is None else stack.enter_context(contextlib.closing(Recorder(record)))
        viewer = stack.enter_context(contextlib.closing(RerunViewer())) if view else None
        results = None if output is None else stack.enter_context(_opened(output))
        session = run_session(arrivals, tracker, recorder=recorder, viewer=viewer, max_frames=frames)
        total, recent = Statistics(), Statistics()
        try:
            for arrival, hands in stack.enter_context(contextlib.closing(session)):
                for tracked in hands:
                    print(json.dumps(tracked.to_dict()), file=results, flush=results is None)
                total.add(arrival)
                recent.add(arrival)
                if recent.seconds > _STATISTICS_INTERVAL_S:
                    say_row(recent.row())
                    recent = Statistics()
        except KeyboardInterrupt:
            pass
        except SourceLostError as error:
            lost = error
    say_row(total.row())
    if lost is not None:
        say(f"error: {lost}")
        raise typer.Exit(1)


def _opened(path: Path) -> IO[str]:
    try:
        return path.open("w", encoding="utf-8")
    except OSError as error:
        raise HandPoseError(f"{path}: cannot be written ({error})") from None
