from __future__ import annotations

import json
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest

from handpose import Camera, HandPoseError, SkippedFrameWarning
from handpose.recordings.open import open_recording, recorded_frames

CAMERA = {"fx": 300.0, "fy": 301.0, "cx": 31.5, "cy": 23.5, "width": 64, "height": 48}
IMAGES = np.random.default_rng(0).integers(0, 65536, (3, 48, 64), dtype=np.uint16)
HEADER = {"format": "handpose recording", "version": 1, "camera": CAMERA, "unit_mm": 0.125}


def frame(number: int) -> bytes:
    data = zlib.compress(IMAGES[number].tobytes(), 1)
    return struct.pack("<dI", 1000.0 + number / 30, len(data)) + data


def content(header: dict = HEADER) -> bytes:
    """A file that follows the documented format."""
    return json.dumps(header).encode() + b"\n" + b"".join(frame(number) for number in range(3))


def test_frames_are_bitwise_identical(tmp_path: Path) -> None:
    (tmp_path / "a.hpr").write_bytes(content())
    recording = open_recording(tmp_path / "a.hpr")
    assert recording.count() == 3
    assert [stored.path.name for stored in recording.read()] == ["a.hpr#0", "a.hpr#1", "a.hpr#2"]
    for number, one in enumerate(recorded_frames(recording)):
        assert one.depth.tobytes() == (IMAGES[number].astype(np.float32) * np.float32(0.125)).tobytes()
        assert (one.camera, one.time, one.unit) == (Camera(**CAMERA), 1000.0 + number / 30, 0.125)


def test_a_truncated_file_yields_all_complete_frames(tmp_path: Path) -> None:
    data = content()
    start = data.index(b"\n") + 1
    ends = [start + sum(len(frame(i)) for i in range(number + 1)) for number in range(3)]
    for size in range(start, len(data), 97):
        (tmp_path / "truncated.hpr").write_bytes(data[:size])
        recording = open_recording(tmp_path / "truncated.hpr")
        with warnings.catch_warnings(record=True) as caught:
            frames = list(recorded_frames(recording))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert recording.count() == len(frames)
        assert len(frames) == sum(end <= size for end in ends)
        assert ["was not recorded or copied completely" in str(one.message) for one in caught] == (
            [] if size in (start, *ends) else [True]
        )


def test_other_and_damaged_files_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "a.hpr"
    for damaged, message in (
        (b"", "not a recording"),
        (b"\x89PNG\r\n\x1a\n", "not a recording"),
        (b'{"format": 3}\n', "not a recording"),
        (b"[]\n", "not a recording"),
        (content(HEADER | {"version": 2}), "reads version 1"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(HandPoseError, match=message):
            list(recorded_frames(open_recording(path)))
    with pytest.raises(HandPoseError, match="has no topic /depth"):
        open_recording(path, topic="/depth")


def test_damaged_frames_are_skipped_with_a_warning_that_names_them(tmp_path: Path) -> None:
    path, data = tmp_path / "a.hpr", content()
    start = data.index(b"\n") + 1
    bomb = zlib.compress(bytes(10_000_000))
    damaged = data[: start + 50] + bytes(100) + data[start + 150 :]
    path.write_bytes(damaged + struct.pack("<dI", 2000.0, len(bomb)) + bomb)
    with pytest.warns(SkippedFrameWarning) as skipped:
        times = [frame.time for frame in recorded_frames(open_recording(path))]
    assert times == [1000.0 + 1 / 30, 1000.0 + 2 / 30]
    assert [str(warning.message).split(": ")[0] for warning in skipped] == [f"skipped {path}#{i}" for i in (0, 3)]


def test_a_unit_besides_the_recorded_one_is_ignored_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / "a.hpr").write_bytes(content())
    with pytest.warns(UserWarning, match="contains the unit of its depth values, so the unit 0.5 is ignored"):
        recording = open_recording(tmp_path / "a.hpr", unit=0.5)
    first = next(iter(recorded_frames(recording)))
    assert np.array_equal(first.depth, IMAGES[0].astype(np.float32) * np.float32(0.125))
