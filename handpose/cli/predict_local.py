"""`handpose predict` in this process: files in, records and pictures out."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from handpose.cli.console import say
from handpose.cli.options import parse_numbers
from handpose.errors import HandPoseError
from handpose.jobs.signals import stop_requests

if TYPE_CHECKING:
    import numpy as np

    from handpose.jobs.job import PredictJob
    from handpose.jobs.pipeline import FileResult
    from handpose.results.formats import Format
    from handpose.results.pose import HandPose


def predict_here(job: PredictJob, format: Format, draw: Path | None, html: Path | None) -> None:
    """Predicts all files of a job.

    Args:
        job: what to do.
        format: how results are written.
        draw: folder for pictures.
        html: folder for pages, or the one page's file.

    Raises:
        HandPoseError: nothing could be done.
        typer.Exit: with 1 if inputs failed, or as `stop_requests` says.
    """
    from handpose.inference.estimator import HandPoseEstimator
    from handpose.inference.query import Query
    from handpose.io.depth.read import SUFFIXES
    from handpose.io.inputs import is_archive, list_files
    from handpose.jobs.pipeline import predict_files
    from handpose.results.records import FailedFrame
    from handpose.results.writers import open_writer

    for text in job.inputs:
        if "://" in text or is_archive(text):
            raise typer.BadParameter(f"{text}: URLs, archives and tables are read with --engine ray")
    files = list_files(job.inputs, SUFFIXES)
    centres = _centres(job.center, job.y_up, len(files))
    output = None if job.output is None else Path(job.output)
    pictures, pages = _targets(files, draw, ".png"), _targets(files, html, ".html")
    raw = {file.resolve() for file in files}
    for path in [output, *pictures.values(), *pages.values()]:
        if path is not None and path.resolve() in raw:
            raise typer.BadParameter(f"{path}: is one of the inputs; results must go elsewhere")
        if path is not None and path.exists() and not (job.force or job.resume):
            go_on = "" if output is None else ", or --resume to go on"
            raise typer.BadParameter(f"{path}: is there already; give --force to overwrite it{go_on}")

    estimator = HandPoseEstimator.from_pretrained(job.model, device=job.device, backend=job.backend)
    settings = job.settings(estimator, format=format, draw=_text(draw), html=_text(html))
    with (
        stop_requests() as stops,
        open_writer(format, output, settings, resume=job.resume) as writer,
    ):
        left = [i for i, file in enumerate(files) if not writer.holds(file)]
        results = predict_files(
            estimator,
            [files[i] for i in left],
            Query(job.camera, box=job.box, hand=job.hand, unit=job.unit),
            centers=None if centres is None else centres[left],
            batch_size=job.batch_size,
            keep_depth=bool(pictures or pages),
        )
        done = len(files) - len(left)
        with contextlib.closing(results):
            for result in _with_progress(results, len(left)):
                if result.pose is None:
                    say(f"error: {result.error}")
                    writer.write(result.path, FailedFrame(str(result.path), str(result.error), estimator.layout))
                else:
                    if result.depth is not None:
                        _show(result.pose, result.depth, pictures.get(result.path), pages.get(result.path))
                    writer.write(result.path, result.pose)
                done += 1
                if stops:
                    break
    if writer.failed:
        say(f"{writer.failed} of {done} inputs failed")
    if stops:
        say(f"stopped after {done} of {len(files)} inputs")
        raise typer.Exit(128 + stops[0])
    if writer.failed:
        raise typer.Exit(1)


def _centres(text: str | None, y_up: bool, images: int) -> np.ndarray | None:
    """(N, 3) centres, one per image."""
    import numpy as np

    from handpose.localization.centers import read_centers

    if text is None:
        return None
    if not Path(text).is_file():
        return np.tile(parse_numbers(text, 3, "--center X,Y,Z or a file"), (images, 1))
    centres = read_centers(text, y_up=y_up)
    if len(centres) != images:
        raise typer.BadParameter(
            f"{text}: has {len(centres)} centres for {images} images; one line per image is needed"
        )
    return centres


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _targets(files: list[Path], place: Path | None, suffix: str) -> dict[Path, Path]:
    """Where each file's picture or page goes; files of one name from different folders get numbers."""
    if place is None:
        return {}
    if place.suffix == ".html" == suffix:
        if len(files) > 1:
            raise typer.BadParameter(f"{place}: is one page for {len(files)} inputs; give a folder")
        return {files[0]: place}
    targets: dict[Path, Path] = {}
    taken: set[Path] = set()
    for file in files:
        target, number = place / f"{file.stem}{suffix}", 1
        while target in taken:
            number += 1
            target = place / f"{file.stem}-{number}{suffix}"
        taken.add(target)
        targets[file] = target
    return targets


def _show(pose: HandPose, depth: np.ndarray, picture: Path | None, page: Path | None) -> None:
    """Writes the picture and the page, if they are asked for; a page only if there is a hand."""
    import cv2

    from handpose.io.atomic import write_atomically
    from handpose.results.page import pose_page

    contents: dict[Path, bytes] = {}
    if picture is not None:
        contents[picture] = cv2.imencode(".png", pose.draw(depth))[1].tobytes()
    if page is not None and pose.status != "no_hand":
        contents[page] = pose_page(pose, depth).encode()
    for path, content in contents.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, content)
        except OSError as error:
            raise HandPoseError(f"{path}: cannot be written ({error})") from None


def _with_progress(results: Iterator[FileResult[Path]], length: int) -> Iterator[FileResult[Path]]:
    """The results, with a bar on stderr where a person watches."""
    if length == 1 or not sys.stderr.isatty():
        yield from results
        return
    with typer.progressbar(results, length=length, file=sys.stderr) as bar:
        yield from bar
