"""Prediction of local files in this process, with pictures and web pages of the results."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Container, Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from handpose.errors import HandPoseError
from handpose.io.atomic import write_atomically
from handpose.io.choices import Format
from handpose.io.depth.read import SUFFIXES, read_bytes
from handpose.io.depth.stacks import count_frames, split_frames
from handpose.io.inputs import absolute, check_input, file_of, frame_path, is_archive, list_files
from handpose.io.outputs import refuse_existing, writing
from handpose.io.warn import warn
from handpose.jobs.job import PredictJob
from handpose.jobs.pipeline import FetchedFile, FileResult, predict_files
from handpose.localization.centers import read_centers
from handpose.recordings.open import is_recording, open_recording
from handpose.recordings.recording import Recording, StoredFrame
from handpose.results.keypoint_records import keypoint_adder
from handpose.results.page import pose_page
from handpose.results.pose import HandPose, draw_hands
from handpose.results.records import FailedFrame, Record
from handpose.results.writers import open_writer

_FILE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".svg", ".pdf", ".htm", ".html")
"""Extensions that name a file and not a folder."""

_Input = Path | FetchedFile | StoredFrame


class LocalProgress(NamedTuple):
    """Progress of a job after each file.

    Attributes:
        done: Files with a record, including those of the job that was resumed.
        total: Files of the job.
        failed: Files whose record is an error, including those of the job that was resumed.
        failed_before: Failed files of other inputs in the output of the job that was resumed.
        records: Records of the last file, one per hand; empty before the first file.
        written: Its picture and its page.
    """

    done: int
    total: int
    failed: int
    failed_before: int = 0
    records: Sequence[Record] = ()
    written: Sequence[Path] = ()


def predict_local(
    job: PredictJob, *, format: Format | None, draw: Path | None = None, html: Path | None = None
) -> Generator[LocalProgress, None, None]:
    """Predict the files of a job, and yield its progress once after opening the output and after each record.

    Closing the generator completes the output, so that the job can be resumed.

    Args:
        job: Job to run.
        format: Format of the records; None writes no records.
        draw: Folder for pictures of the results, or the `.png` file of a single picture.
        html: Folder for web pages of the results, or the `.html` file of a single page.

    Raises:
        HandPoseError: An input, the output or the model cannot be used.
    """
    if job.options.max_hands > 1 and (format == "uvd" or html is not None):
        raise HandPoseError("uvd files and web pages contain one hand per image; omit `max_hands=...` or this output")
    inputs = [(each, _frames(each)) for each in _local_inputs(job)]
    files = [frame for _, frames in inputs for frame in frames]
    centers = _centers(job, len(files))
    pictures, pages = _targets(files, draw, ".png"), _targets(files, html, ".html")
    output = None if job.output is None else Path(job.output)
    _check_targets(job, map(file_of, files), [output, *pictures.values(), *pages.values()])

    estimator = job.options.load_estimator()
    add_keypoints = keypoint_adder(job.keypoints, estimator.layout)
    settings = job.settings(estimator, format=format, draw=_text(draw), html=_text(html))
    with open_writer(format, output, settings, resume=job.resume) as writer:
        if job.resume:  # inputs that were added since must not take the names of earlier ones
            pictures, pages = (_targets(files, *each, writer.frames) for each in ((draw, ".png"), (html, ".html")))
            _check_targets(job, map(file_of, files), [*pictures.values(), *pages.values()])
        statuses = [writer.status_of(file) for file in files]
        remaining = [i for i, status in enumerate(statuses) if status is None]
        failed = statuses.count("error")
        progress = LocalProgress(len(files) - len(remaining), len(files), failed, writer.failed - failed)
        yield progress
        results = predict_files(
            estimator,
            _read_inputs(inputs, {files[i] for i in remaining}),
            job.options.query,
            centers=None if centers is None else centers[remaining],
            max_hands=job.options.max_hands,
            batch_size=job.options.batch_size,
            keep_depth=bool(pictures or pages),
        )
        with contextlib.closing(results):
            for result in results:
                path = _path_of(result.path)
                poses, written = _show(result, pictures.get(path), pages.get(path))
                failure = FailedFrame.of(str(path), result.error, estimator.layout)
                records: Sequence[Record] = [*map(add_keypoints, poses)] or [failure]
                writer.write(path, records)
                failed += records[0].status == "error"
                progress = progress._replace(done=progress.done + 1, failed=failed, records=records, written=written)
                yield progress


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _local_inputs(job: PredictJob) -> list[Path | Recording]:
    """Return the depth files and recordings of a job without duplicates."""
    paths: dict[Path, Path] = {}  # by their absolute paths
    repeated = 0
    for text in job.inputs:
        if "://" in text or is_archive(text):
            raise HandPoseError(f"{text}: URLs, archives and tables are only read with `engine=ray`")
        check_input(text)
        is_bag = is_recording(Path(text))  # which may be a folder
        files = (
            [Path(text)] if is_bag and Path(text).exists() else list_files([text], SUFFIXES, recursive=job.recursive)
        )
        for path in files:
            repeated += paths.setdefault(absolute(path), path) is not path
    if repeated:
        warn(f"inputs that occur more than once are predicted once: {repeated}")
    if job.topic is not None and not any(map(is_recording, paths.values())):
        raise HandPoseError("a topic is that of a ROS bag, but no input is one; omit `topic=...`")
    query = job.options.query
    return [
        open_recording(path, topic=job.topic, camera=query.camera, unit=query.unit)
        if is_recording(path) and path.exists()
        else path
        for path in paths.values()
    ]


def _frames(each: Path | Recording) -> list[Path]:
    """Return the paths of an input's frames.

    If a recording is damaged, its own path follows those of the frames before the damage.

    Raises:
        HandPoseError: No frame of a recording can be read.
    """
    if isinstance(each, Recording):
        return _recorded(each)
    count = count_frames(each)
    return [each] if count == 1 else [frame_path(each, number) for number in range(count)]


def _recorded(recording: Recording) -> list[Path]:
    try:
        paths = [frame_path(recording.path, number) for number in range(recording.count())]
    except HandPoseError:
        paths = []
        with contextlib.suppress(HandPoseError):
            for frame in recording.read():
                paths.append(frame.path)
        if not paths:
            raise
        paths.append(recording.path)
    if not paths:
        raise HandPoseError(f"{recording.path}: contains no complete frame")
    return paths


def _read_inputs(
    inputs: Iterable[tuple[Path | Recording, Sequence[Path]]], wanted: Container[Path]
) -> Iterator[_Input]:
    """Yield the files and frames whose paths are in `wanted`, in order; those that cannot be read, with the reason.

    Args:
        inputs: The inputs, and the paths of their frames.
        wanted: Paths of frames.
    """
    for each, paths in inputs:
        missing = deque(path for path in paths if path in wanted)
        if not missing:
            continue
        own = set(missing)
        reason = ""
        try:
            for frame in each.read() if isinstance(each, Recording) else _read_file(each):
                if _path_of(frame) in own:
                    while missing[0] != _path_of(frame):
                        yield _unreadable(missing.popleft())
                    missing.popleft()
                    yield frame
        except HandPoseError as error:  # such as that of a file that is too large
            reason = str(error)
        yield from (_unreadable(path, reason) for path in missing)


def _unreadable(path: Path, reason: str = "") -> FetchedFile:
    return FetchedFile(str(path), b"", reason or f"{path}: is no longer in its file")


def _read_file(path: Path) -> Iterator[Path | FetchedFile]:
    """Yield a depth file, or its frames if there are several."""
    if count_frames(path) == 1:
        yield path
        return
    for frame in split_frames(str(path), read_bytes(path, str(path))):
        yield FetchedFile(*frame)


def _path_of(frame: _Input) -> Path:
    if isinstance(frame, StoredFrame):
        return frame.path
    return Path(frame.name) if isinstance(frame, FetchedFile) else frame


def _centers(job: PredictJob, files: int) -> np.ndarray | None:
    """Return the hand center of each file, (N, 3) mm, if the job has a file of centers."""
    if job.centers is None:
        return None
    centers = read_centers(job.centers, y_up=job.y_up)
    if len(centers) != files:
        raise HandPoseError(
            f"{job.centers}: has {len(centers)} centers for {files} images; one line per image is required"
        )
    return centers


def _targets(files: list[Path], target: Path | None, suffix: str, earlier: Sequence[Path] = ()) -> dict[Path, Path]:
    """Map each file to its picture or page; equal names from different folders are numbered.

    Args:
        files: The files.
        target: Folder of the pictures or pages, or the file of a single one; None for none.
        suffix: Their extension.
        earlier: Absolute paths of the files that have theirs from the job that is resumed, in its order.
    """
    if target is None:
        return {}
    given = {absolute(file): file for file in files}
    ordered = dict.fromkeys([*earlier, *given])
    if target.suffix.lower() == suffix and not target.is_dir():
        if len(ordered) > 1:
            raise HandPoseError(f"{target}: is one file for {len(ordered)} inputs; pass a folder")
        return {files[0]: target}
    if target.suffix.lower() in _FILE_SUFFIXES and not target.is_dir():
        raise HandPoseError(f"{target}: expected a {suffix} file or a folder")
    targets: dict[Path, Path] = {}
    taken: set[Path] = set()
    for file in ordered:
        path, number = target / f"{file.stem}{suffix}", 1
        while path in taken:
            number += 1
            path = target / f"{file.stem}-{number}{suffix}"
        taken.add(path)
        if file in given:
            targets[given[file]] = path
    return targets


def _check_targets(job: PredictJob, files: Iterable[Path], targets: Iterable[Path | None]) -> None:
    """Reject targets that are inputs or the same file, or that exist although they may not be overwritten."""
    taken = {file.resolve(): "is one of the inputs; results must go elsewhere" for file in files}
    for path in targets:
        if path is None:
            continue
        if problem := taken.get(target := path.resolve()):
            raise HandPoseError(f"{path}: {problem}")
        taken[target] = "cannot be the file of two outputs; pass another one"
        refuse_existing(path, force=job.force or job.resume, or_resume=job.output is not None)


def _show(result: FileResult[_Input], picture: Path | None, page: Path | None) -> tuple[list[HandPose], list[Path]]:
    """Write the picture and the page of a result, and return its poses, which name the picture, and these files.

    There is no page without a hand.
    """
    if result.pose is None or result.depth is None:
        return [*result.poses], []
    contents: dict[Path, bytes] = {}
    if picture is not None:
        contents[picture] = cv2.imencode(".png", draw_hands(result.depth, result.poses))[1].tobytes()
    if page is not None and result.pose.status != "no_hand":
        contents[page] = pose_page(result.pose, result.depth).encode()
    for path, content in contents.items():
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, content)
    poses = [*result.poses] if picture is None else [replace(pose, picture=str(picture)) for pose in result.poses]
    return poses, [*contents]
