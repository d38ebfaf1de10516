"""Writing many poses to one file: JSON lines, JSON, CSV or npz."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import IO, Literal, Protocol

import numpy as np

from handpose.errors import HandPoseError
from handpose.pose import HandPose

Format = Literal["jsonl", "json", "csv", "npz"]

_CSV_COLUMNS = (
    *("source", "status", "model", "layout", "hand", "joint"),
    *("x_mm", "y_mm", "z_mm", "u", "v", "spread_x_mm", "spread_y_mm", "spread_z_mm"),
)


class PoseWriter(Protocol):
    """Takes poses one by one; `close` completes the file."""

    def write(self, pose: HandPose) -> None:
        """Adds one pose."""
        ...

    def close(self) -> None:
        """Completes the file."""
        ...


def open_writer(format: Format, stream: IO[str], path: Path | None) -> PoseWriter:
    """The writer of a format.

    Args:
        format: `jsonl` and `csv` are written as poses come; `json` and `npz` when closed.
        stream: where text goes.
        path: where `npz` goes, since it is no text.

    Raises:
        HandPoseError: `npz` without a path.
    """
    if format == "npz":
        if path is None:
            raise HandPoseError("npz is not text: give it a file with -o")
        return _Npz(path)
    writers: dict[str, Callable[[IO[str]], PoseWriter]] = {"jsonl": _JsonLines, "json": _Json, "csv": _Csv}
    return writers[format](stream)


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
            numbers = np.concatenate([pose.xyz[i], pose.uvz[i, :2], pose.spread[i]])
            cells = ("" if np.isnan(number) else f"{number:.2f}" for number in numbers)
            self._writer.writerow((*head, joint, *cells))

    def close(self) -> None:
        pass


class _Npz:
    """Arrays over all N poses, named as in the record, and the joints' names (J,)."""

    def __init__(self, path: Path) -> None:
        self._path, self._poses = path, list[HandPose]()

    def write(self, pose: HandPose) -> None:
        self._poses.append(pose)

    def close(self) -> None:
        poses = self._poses
        with self._path.open("wb") as file:
            np.savez_compressed(
                file,
                source=np.array([pose.source for pose in poses]),
                status=np.array([pose.status for pose in poses]),
                hand=np.array([pose.hand for pose in poses]),
                xyz_mm=np.array([pose.xyz for pose in poses]),
                uvz=np.array([pose.uvz for pose in poses]),
                spread_mm=np.array([pose.spread for pose in poses]),
                center_mm=np.array([pose.center for pose in poses]),
                joints=np.array(poses[0].layout.joints if poses else []),
            )
