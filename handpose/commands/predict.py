"""The command line for users: from depth files to joints."""

from __future__ import annotations

import contextlib
import enum
import glob
import hashlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from handpose.commands.console import HandOrAuto, parse_numbers, parse_unit, say, warnings_as_lines
from handpose.errors import HandPoseError

if TYPE_CHECKING:
    import numpy as np

    from handpose.batch import FileResult
    from handpose.pose import HandPose

app = typer.Typer()


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
    html: Annotated[
        Path | None, typer.Option(metavar="DIR|FILE.html", help="Pages that show each hand in 3D, without other files.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    backend: Annotated[str, typer.Option(help="What runs the network: auto, torch, onnxruntime, openvino.")] = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Images per pass through the network.")] = 16,
    force: Annotated[bool, typer.Option("--force", help="Overwrite results that are there.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the results that an interrupted run wrote to --output.")
    ] = False,
) -> None:
    """Find the hand in each depth image and write its joints in millimetres.

    Exit code: 0 all fine, 1 some inputs failed, 2 wrong usage or nothing could be done, 130 Ctrl-C, 141 the reader of
    the output went away, 143 SIGTERM.
    """
    import handpose
    from handpose.batch import predict_files
    from handpose.camera import Camera
    from handpose.estimator import HandPoseEstimator
    from handpose.records import FailedFrame, open_writer

    parsed_unit = parse_unit(unit)
    parsed_camera = None if camera is None else Camera.parse(camera)
    parsed_box = None if box is None else _box(box)
    files = _files(inputs)
    centres = _centres(center, y_up, len(files))
    if center is not None and box is not None:
        raise typer.BadParameter("give --center or --box, not both")
    pictures, pages = _targets(files, draw, ".png"), _targets(files, html, ".html")
    raw = {file.resolve() for file in files}
    for path in [output, *pictures.values(), *pages.values()]:
        if path is not None and path.resolve() in raw:
            raise typer.BadParameter(f"{path}: is one of the inputs; results must go elsewhere")
        if path is not None and path.exists() and not (force or resume):
            raise typer.BadParameter(f"{path}: is there already; give --force to overwrite it, or --resume to go on")
    if force and resume:
        raise typer.BadParameter("give --force to start again or --resume to go on, not both")

    with warnings_as_lines():
        estimator = HandPoseEstimator.from_pretrained(model, device=device, backend=backend)  # type: ignore[arg-type]
        settings = {
            "handpose": handpose.__version__,
            "model": estimator.name,
            "sha256": estimator.sha256,
            "backend": backend,
            "camera": parsed_camera and parsed_camera.to_dict(),
            "unit": parsed_unit,
            "hand": hand.value,
            "center": [_centre_setting(center), y_up],
            "box": parsed_box,
            "format": format.value,
            "draw": draw and str(draw),
            "html": html and str(html),
        }
        with (
            _stop_requests() as stops,
            open_writer(format.value, output, settings, resume=resume) as writer,
        ):
            left = [i for i, file in enumerate(files) if not writer.holds(file)]
            results = predict_files(
                estimator,
                [files[i] for i in left],
                camera=parsed_camera,
                centers=None if centres is None else centres[left],
                box=parsed_box,
                hand=hand.value,
                unit=parsed_unit,
                batch_size=batch_size,
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


@contextlib.contextmanager
def _stop_requests() -> Iterator[list[int]]:
    """Collects Ctrl-C and SIGTERM, so that a write is finished before the end; the second one ends at once.

    If the reader of stdout goes away, nobody needs to hear of it.
    """
    stops: list[int] = []

    def note(number: int, _: object) -> None:
        stops.append(number)
        signal.signal(number, signal.SIG_DFL)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stops
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # where Python flushes to in the end
        raise typer.Exit(141) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _box(text: str) -> tuple[float, float, float, float]:
    x, y, width, height = parse_numbers(text, 4, "--box X,Y,W,H")
    return x, y, width, height


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
        return np.tile(parse_numbers(text, 3, "--center X,Y,Z or a file"), (images, 1))
    centres = read_centers(text, y_up=y_up)
    if len(centres) != images:
        raise typer.BadParameter(
            f"{text}: has {len(centres)} centres for {images} images; one line per image is needed"
        )
    return centres


def _centre_setting(text: str | None) -> str | None:
    """What `--center` says, or its file's sha256."""
    if text is None or not Path(text).is_file():
        return text
    return hashlib.sha256(Path(text).read_bytes()).hexdigest()


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

    from handpose.durable import write_atomically
    from handpose.html import pose_page

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
