"""The command line for users: from depth files to joints."""

from __future__ import annotations

import contextlib
import enum
import glob
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from handpose.commands.console import say
from handpose.errors import HandPoseError

if TYPE_CHECKING:
    import numpy as np

    from handpose.batch import FileResult
    from handpose.depth_io import DepthUnit

app = typer.Typer()


class Hand(str, enum.Enum):
    """Which hand an image shows."""

    right = "right"
    left = "left"


class HandOrAuto(str, enum.Enum):
    """Which hand an image shows, or that nobody knows."""

    right = "right"
    left = "left"
    auto = "auto"


class Format(str, enum.Enum):
    """How results are written."""

    jsonl = "jsonl"
    json = "json"
    csv = "csv"
    npz = "npz"
    uvd = "uvd"


@app.command()
def predict(
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT...", help="Depth files, folders of them, or globs.")],
    model: Annotated[
        str,
        typer.Option("--model", "-m", help="A name from `handpose models`, a model folder, or owner/repo on the Hub."),
    ] = "msra",
    camera: Annotated[
        str | None,
        typer.Option(
            "--camera", "-c", help="icvl, nyu, msra, fx,fy,cx,cy[,width,height], or a .json or ROS .yaml file."
        ),
    ] = None,
    unit: Annotated[
        str, typer.Option(help="What the stored numbers mean: mm, m, millimetres per unit, or nyu (two-byte PNG).")
    ] = "mm",
    hand: Annotated[
        HandOrAuto, typer.Option(help="Which hand it is; auto tells, in twice the network's time.")
    ] = HandOrAuto.right,
    center: Annotated[
        str | None,
        typer.Option(
            metavar="X,Y,Z|FILE", help="Hand centre in mm, camera frame (y down), or a file with one per image."
        ),
    ] = None,
    y_up: Annotated[bool, typer.Option("--y-up", help="The y axis of the --center file points up.")] = False,
    box: Annotated[str | None, typer.Option(metavar="X,Y,W,H", help="Box around the hand in px.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where results go instead of stdout.")] = None,
    format: Annotated[Format, typer.Option(help="How results are written.")] = Format.jsonl,
    draw: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for pictures of the results.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Images per pass through the network.")] = 16,
    force: Annotated[bool, typer.Option("--force", help="Overwrite results that are there.")] = False,
) -> None:
    """Find the hand in each depth image and write its joints in millimetres.

    Exit code: 0 all fine, 1 some inputs failed, 2 wrong usage.
    """
    from handpose.batch import predict_files
    from handpose.camera import Camera
    from handpose.estimator import HandPoseEstimator
    from handpose.records import open_writer

    parsed_unit = _unit(unit)
    parsed_camera = None if camera is None else Camera.parse(camera)
    parsed_box = None if box is None else _box(box)
    files = _files(inputs)
    centres = _centres(center, y_up, len(files))
    if center is not None and box is not None:
        raise typer.BadParameter("give --center or --box, not both")
    pictures = _pictures(files, draw)
    raw = {file.resolve() for file in files}
    for path in [output, *pictures.values()]:
        if path is not None and path.resolve() in raw:
            raise typer.BadParameter(f"{path}: is one of the inputs; results must go elsewhere")
        if path is not None and path.exists() and not force:
            raise typer.BadParameter(f"{path}: is there already; give --force to overwrite it")

    # Files are looked at before the model is loaded: a wrong folder should not cost a wait.
    problems = {file: error for file in files if (error := _problem(file, parsed_unit))}
    for error in problems.values():
        say(f"error: {error}")
    failed = len(problems)
    good = [i for i, file in enumerate(files) if file not in problems]
    if good:
        with _warnings_as_lines():
            estimator = HandPoseEstimator.from_pretrained(model, device=device)
            results = predict_files(
                estimator,
                [files[i] for i in good],
                camera=parsed_camera,
                centers=None if centres is None else centres[good],
                box=parsed_box,
                hand=hand.value,
                unit=parsed_unit,
                batch_size=batch_size,
            )
            with open_writer(format.value, output) as writer:
                for result in _with_progress(results, len(good)):
                    if result.pose is None or result.depth is None:
                        failed += 1
                        say(f"error: {result.error}")
                        continue
                    writer.write(result.pose)
                    if result.path in pictures:
                        _draw(result.pose.draw(result.depth), pictures[result.path])
    if failed:
        say(f"{failed} of {len(files)} inputs failed")
        raise typer.Exit(1)


def _unit(text: str) -> DepthUnit:
    if text in ("mm", "m", "nyu"):
        return text  # type: ignore[return-value]
    (unit,) = _numbers(text, 1, "--unit mm|m|nyu|NUMBER")
    if not 0 < unit < float("inf"):
        raise typer.BadParameter(f"expected --unit mm|m|nyu|NUMBER with a number above 0, got {text!r}")
    return unit


def _box(text: str) -> tuple[float, float, float, float]:
    x, y, width, height = _numbers(text, 4, "--box X,Y,W,H")
    return x, y, width, height


def _numbers(text: str, count: int, what: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != count:
        raise typer.BadParameter(f"expected {what}, got {text!r}")
    return numbers


def _files(inputs: list[str]) -> list[Path]:
    """The depth files that paths, folders and globs stand for, each once, in order."""
    from handpose.depth_io import SUFFIXES

    files: dict[Path, None] = {}
    for text in inputs:
        if not text:
            raise typer.BadParameter("an input is empty; expected a file, a folder or a glob")
        path = Path(text)
        if path.is_dir():
            found = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
            if not found:
                raise typer.BadParameter(f"{path}: no depth files in this folder; expected {', '.join(SUFFIXES)}")
        elif path.exists() or not glob.has_magic(text):
            found = [path]
        else:
            found = [Path(match) for match in sorted(glob.glob(text, recursive=True))]
            if not found:
                raise typer.BadParameter(f"{text}: no file matches")
        files |= dict.fromkeys(found)
    return list(files)


def _centres(text: str | None, y_up: bool, images: int) -> np.ndarray | None:
    """(N, 3) centres, one per image."""
    import numpy as np

    from handpose.localize import read_centers

    if text is None:
        return None
    if not Path(text).is_file():
        return np.tile(_numbers(text, 3, "--center X,Y,Z or a file"), (images, 1))
    centres = read_centers(text, y_up=y_up)
    if len(centres) != images:
        raise typer.BadParameter(
            f"{text}: has {len(centres)} centres for {images} images; one line per image is needed"
        )
    return centres


def _pictures(files: list[Path], folder: Path | None) -> dict[Path, Path]:
    """Where each file's picture goes; files of one name from different folders get numbers."""
    if folder is None:
        return {}
    pictures: dict[Path, Path] = {}
    taken: set[Path] = set()
    for file in files:
        target, number = folder / f"{file.stem}.png", 1
        while target in taken:
            number += 1
            target = folder / f"{file.stem}-{number}.png"
        taken.add(target)
        pictures[file] = target
    return pictures


@contextlib.contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """Warnings as one line each on stderr, the same one once."""
    with warnings.catch_warnings():
        warnings.simplefilter("once", UserWarning)
        warnings.showwarning = lambda message, *_: say(f"warning: {message}")
        yield


def _draw(picture: np.ndarray, path: Path) -> None:
    import cv2

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    except OSError as error:
        raise HandPoseError(f"{path}: the picture cannot be written ({error})") from None


def _problem(file: Path, unit: DepthUnit) -> HandPoseError | None:
    from handpose.depth_io import check_depth_file

    try:
        check_depth_file(file, unit)
    except HandPoseError as error:
        return error
    return None


def _with_progress(results: Iterator[FileResult], length: int) -> Iterator[FileResult]:
    """The results, with a bar on stderr where a person watches."""
    if length == 1 or not sys.stderr.isatty():
        yield from results
        return
    with typer.progressbar(results, length=length, file=sys.stderr) as bar:
        yield from bar
