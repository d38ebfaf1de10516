"""Writing many poses to one file: JSON lines, JSON, CSV, npz, or the field's text format."""

from __future__ import annotations

import contextlib
import csv
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Literal, Protocol

import numpy as np

from handpose.errors import HandPoseError
from handpose.pose import HandPose
from handpose.predictions import prediction_line

Format = Literal["jsonl", "json", "csv", "npz", "uvd"]

_CSV_COLUMNS = (
    *("source", "status", "model", "layout", "hand", "joint"),
    *("x_mm", "y_mm", "z_mm", "u", "v", "spread_x_mm", "spread_y_mm", "spread_z_mm", "error_mm"),
)


class PoseWriter(Protocol):
    """Takes poses one by one; `close` completes the file."""

    def write(self, pose: HandPose) -> None:
        """Adds one pose."""
        ...

    def close(self) -> None:
        """Completes the file."""
        ...


@contextlib.contextmanager
def open_writer(format: Format, path: Path | None) -> Iterator[PoseWriter]:
    """The writer of a format, completed at the end even if what happens in between fails.

    Args:
        format: `jsonl`, `csv` and `uvd` (`u v d` of all joints, a line per pose) are written as poses come; `json`
            and `npz` in the end.
        path: the file; None for stdout, which takes text only.

    Raises:
        HandPoseError: the file cannot be written, or `npz` without a path.
    """
    if format == "npz" and path is None:
        raise HandPoseError("npz is not text: give it a file with -o")
    writers: dict[Format, Callable[[IO[Any]], PoseWriter]] = {
        "jsonl": _JsonLines,
        "json": _Json,
        "csv": _Csv,
        "npz": _Npz,
        "uvd": _Lines,
    }
    try:
        with contextlib.ExitStack() as stack:
            stream: IO[Any] = sys.stdout
            if path is not None and format == "npz":
                stream = stack.enter_context(path.open("wb"))
            elif path is not None:
                stream = stack.enter_context(path.open("w", encoding="utf-8"))
            writer = writers[format](stream)
            stack.callback(writer.close)
            yield writer
    except BrokenPipeError:
        raise
    except OSError as error:
        raise HandPoseError(f"{path or 'stdout'}: cannot be written ({error})") from None


class _JsonLines:
    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, pose: HandPose) -> None:
        self._stream.write(json.dumps(pose.to_dict()) + "\n")
        self._stream.flush()

    def close(self) -> None:
        pass


class _Json:
    def __init__(self, stream: IO[str]) -> None:
        self._stream, self._poses = stream, list[object]()

    def write(self, pose: HandPose) -> None:
        self._poses.append(pose.to_dict())

    def close(self) -> None:
        self._stream.write(json.dumps(self._poses, indent=1) + "\n")


class _Csv:
    """One row per joint."""

    def __init__(self, stream: IO[str]) -> None:
        self._writer = csv.writer(stream, lineterminator="\n")
        self._writer.writerow(_CSV_COLUMNS)

    def write(self, pose: HandPose) -> None:
        head = (pose.source, pose.status, pose.model, pose.layout.name, pose.hand)
        for i, joint in enumerate(pose.layout.joints):
            numbers = np.concatenate([pose.xyz[i], pose.uvz[i, :2], pose.spread[i], pose.error_mm[i : i + 1]])
            cells = ("" if np.isnan(number) else f"{number:.2f}" for number in numbers)
            self._writer.writerow((*head, joint, *cells))

    def close(self) -> None:
        pass


class _Lines:
    """A line per pose, as `handpose.predictions` reads them."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, pose: HandPose) -> None:
        self._stream.write(prediction_line(pose.uvz) + "\n")
        self._stream.flush()

    def close(self) -> None:
        pass


class _Npz:
    """Arrays over all N poses, named as in the record, and the joints' names (J,)."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._poses = stream, list[HandPose]()

    def write(self, pose: HandPose) -> None:
        self._poses.append(pose)

    def close(self) -> None:
        poses = self._poses
        np.savez_compressed(
            self._stream,
            source=np.array([pose.source for pose in poses]),
            status=np.array([pose.status for pose in poses]),
            model=np.array([pose.model for pose in poses]),
            layout=np.array([pose.layout.name for pose in poses]),
            hand=np.array([pose.hand for pose in poses]),
            xyz_mm=np.array([pose.xyz for pose in poses]),
            uvz=np.array([pose.uvz for pose in poses]),
            spread_mm=np.array([pose.spread for pose in poses]),
            error_mm=np.array([pose.error_mm for pose in poses]),
            center_mm=np.array([pose.center for pose in poses]),
            cube_mm=np.array([pose.cube for pose in poses]),
            joints=np.array(poses[0].layout.joints if poses else []),
            camera=np.array([[p.camera.fx, p.camera.fy, p.camera.cx, p.camera.cy] for p in poses]),
        )
