"""`handpose label`."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Annotated

import typer

from handpose.cli.console import activities, say
from handpose.cli.options import Browser, Host, Model, Port, Recursive, RequiredCamera, Side, Unit, Views, parse_unit
from handpose.io.choices import DEFAULT_HAND


def label(
    frames: Annotated[list[str], typer.Argument(metavar="FRAMES...", help="Depth files, folders or globs.")],
    camera: RequiredCamera,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="File of records (.jsonl) to write or to continue.")
    ],
    unit: Unit = "mm",
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
    label is written at once. The same command continues later.
    """
    from handpose.geometry.camera import Camera
    from handpose.inference.estimator import HandPoseEstimator
    from handpose.inference.query import Query
    from handpose.io.depth.read import SUFFIXES
    from handpose.io.inputs import list_files
    from handpose.labeling.labels import LabelFile
    from handpose.labeling.server import serve
    from handpose.labeling.session import LabelingSession

    files = list_files(frames, SUFFIXES, recursive=recursive)
    query = Query(Camera.parse(camera), hand=hand, unit=parse_unit(unit))
    with activities():
        estimator = HandPoseEstimator.from_pretrained(model, views=views)  # type: ignore[arg-type] # checked on use
    with contextlib.closing(LabelFile(output, estimator.layout)) as labels:
        done = sum(labels.state(file) in ("accepted", "skipped") for file in files)
        with contextlib.closing(serve(LabelingSession(files, labels, estimator, query), host, port)) as server:
            say(f"{server.address} ({done} of {len(files)} frames are done; press Ctrl-C to stop)")
            if browser:
                typer.launch(server.address)
            with contextlib.suppress(KeyboardInterrupt):
                while True:
                    time.sleep(3600.0)
