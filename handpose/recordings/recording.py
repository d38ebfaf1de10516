"""The common interface of recordings: numbered frames that are decoded on demand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from handpose.io.warn import warn
from handpose.recordings.frame import DepthFrame


def warn_incomplete(path: Path) -> None:
    """Warn about a recording that ends too early, for example after a power failure or an interrupted copy."""
    warn(f"{path}: was not recorded or copied completely, so its last frames may be missing")


class StoredFrame(NamedTuple):
    """A frame of a recording before it is decoded.

    Attributes:
        path: Path of the recording, `#`, and the number of the frame, from 0.
        decode: Returns the frame, or raises `DepthReadError`. Any thread may call it.
    """

    path: Path
    decode: Callable[[], DepthFrame]

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True)
class Recording:
    """A file or folder with the frames of one depth camera.

    Attributes:
        path: The file or folder.
        count: Returns the number of complete frames.
        read: Returns an iterator over the frames in the order of their recording. It raises `HandPoseError` where the
            file is damaged.
    """

    path: Path
    count: Callable[[], int]
    read: Callable[[], Iterator[StoredFrame]]
