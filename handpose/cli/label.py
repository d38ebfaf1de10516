"""`handpose label`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from handpose.cli.console import activities, say, warnings_as_lines
from handpose.cli.groups import Images
from handpose.cli.options import Browser, Host, Model, Port, Recursive, Side, Views
from handpose.errors import HandPoseError
from handpose.io.choices import DEFAULT_HAND

if TYPE_CHECKING:
    from handpose.labeling.extract import ExtractedFrames

_MAX_FRAMES = 100


def label(
    frames: Annotated[
        list[str], typer.Argument(metavar="FRAMES...", help="Depth files, folders or globs; or a recording.")
    ],
    images: Images,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="File of records (.jsonl) to write or to continue.")
    ],
    max_frames: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Frames of a recording, spread evenly.", show_default=str(_MAX_FRAMES)),
    ] = None,
    hand: Side = DEFAULT_HAND,
    model: Model = "msra",
    views: Views = 1,
    recursive: Recursive = False,
    host: Host = "127.0.0.1",
    port: Port = 7861,
    browser: Browser = True,
) -> None:
    """Label frames by hand on a local web page.

    Each label starts from the prediction of the model, or from a record that FILE already contains. Every accepted
    label is written at once. The same command continues later. The frames of a recording are written as depth files to
    a folder next to FILE, so that the labels can be used like any others.
    """
    from handpose.inference.estimator import HandPoseEstimator
    from handpose.inference.query import Query
    from handpose.labeling.labels import LabelFile
    from handpose.labeling.server import serve
    from handpose.labeling.session import LabelingSession

    extract = _open_frames(frames, images, recursive, max_frames)
    with activities():
        estimator = HandPoseEstimator.from_pretrained(model, views=views)  # type: ignore[arg-type] # checked on use
    with contextlib.closing(LabelFile(output, estimator.layout)) as labels:
        with warnings_as_lines():
            files, camera, depth_unit = extract(output.with_name(f"{output.stem}-frames"))
        query = Query(camera, hand=hand, unit=depth_unit)
        done = sum(labels.state(file) in ("accepted", "skipped") for file in files)
        with contextlib.closing(serve(LabelingSession(files, labels, estimator, query), host, port)) as server:
            say(f"{server.address} ({done} of {len(files)} frames are done; press Ctrl-C to stop)")
            if browser:
                typer.launch(server.address)
            with contextlib.suppress(KeyboardInterrupt):
                while True:
                    time.sleep(3600.0)


def _open_frames(
    frames: list[str], images: Images, recursive: bool, max_frames: int | None
) -> Callable[[Path], ExtractedFrames]:
    """Return a function that returns the depth files; it writes those of a recording to a folder."""
    from handpose.io.depth.read import SUFFIXES
    from handpose.io.inputs import list_files
    from handpose.labeling.extract import ExtractedFrames, extract_frames
    from handpose.recordings.open import is_recording, open_recording

    camera, unit = images.parse()
    if any(is_recording(Path(text)) for text in frames):
        if len(frames) > 1:
            raise HandPoseError("label one recording at a time; the same -o can be used for all of them")
        if recursive:
            raise HandPoseError("--recursive is for folders of depth files, not for recordings; omit it")
        recording = open_recording(frames[0], topic=images.topic, camera=camera, unit=unit)
        return partial(extract_frames, recording, max_frames=max_frames or _MAX_FRAMES)
    if camera is None or images.topic is not None:
        raise HandPoseError("depth files need --camera, and only recordings have a --topic")
    if max_frames is not None:
        raise HandPoseError("--max-frames is for recordings; all depth files are shown; omit it")
    files = ExtractedFrames(list_files(frames, SUFFIXES, recursive=recursive), camera, unit)
    return lambda _folder: files
