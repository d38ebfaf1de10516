"""Splits files with several frames: arrays (N, H, W), and TIFFs with several pages."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from handpose.errors import DepthReadError
from handpose.io.depth.npy import count_npy, count_npz, npy_frames, npz_frames
from handpose.io.depth.tiff import count_tiff, tiff_frames
from handpose.io.inputs import frame_path

_COUNTS = {".npy": count_npy, ".npz": count_npz, ".tif": count_tiff, ".tiff": count_tiff}
_Read = Callable[[str, BinaryIO], Iterable[np.ndarray]]
_FRAMES: dict[str, _Read] = {
    ".npy": npy_frames,
    ".npz": npz_frames,
    ".tif": tiff_frames,
    ".tiff": tiff_frames,
}


class EncodedFrame(NamedTuple):
    """A depth file, or one frame of it as a depth file.

    Attributes:
        name: Name of the file and, if it has several frames, `#` and the number of the frame, from 0.
        data: Content, for `decode_depth`.
        reason: Why the frame cannot be read, or empty.
    """

    name: str
    data: bytes
    reason: str = ""


def count_frames(path: Path) -> int:
    """Return the number of frames that a depth file declares; 1 for a file that cannot be read."""
    count = _COUNTS.get(path.suffix.lower())
    if count is None:
        return 1
    try:
        with path.open("rb") as file:
            return count(str(path), file)
    except (OSError, DepthReadError):
        return 1


def split_frames(name: str, data: bytes) -> Iterator[EncodedFrame]:
    """Yield the frames of a depth file. A file that has one frame or cannot be read is yielded unchanged.

    Args:
        name: Name of the file. Its extension determines the format.
        data: Content of the file.
    """
    suffix = Path(name).suffix.lower()
    try:
        count = _COUNTS[suffix](name, io.BytesIO(data)) if suffix in _COUNTS else 1
    except DepthReadError:
        count = 1
    if count == 1:
        yield EncodedFrame(name, data)
        return
    number = 0
    try:
        for frame in _FRAMES[suffix](name, io.BytesIO(data)):
            file = io.BytesIO()
            np.save(file, frame)
            yield EncodedFrame(str(frame_path(Path(name), number)), file.getvalue())
            number += 1
    except DepthReadError as error:
        for lost in range(number, count):
            yield EncodedFrame(str(frame_path(Path(name), lost)), b"", str(error))
