from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from handpose import Camera, HandPoseError, SkippedFrameWarning
from handpose.io.depth.read import to_depth
from handpose.recordings.frame import DepthFrame
from handpose.recordings.hpr import Recorder, frames

CAMERA = Camera(300.0, 301.0, 31.5, 23.5, 64, 48)


def random_frames(unit: float, count: int = 3) -> list[DepthFrame]:
    rng = np.random.default_rng(0)
    stored = rng.integers(0, 65536, (count, 48, 64), dtype=np.uint16)
    return [DepthFrame(to_depth(image, unit), CAMERA, 1000.0 + i / 30, unit) for i, image in enumerate(stored)]


def record(path: Path, recorded: list[DepthFrame]) -> None:
    recorder = Recorder(path)
    for frame in recorded:
        recorder.write(frame)
    recorder.close()


@pytest.mark.parametrize("unit", [1.0, 0.125, 0.25, 0.1, 1.0 / 3.0])
def test_replayed_frames_are_bitwise_identical(tmp_path: Path, unit: float) -> None:
    recorded = random_frames(unit)
    record(tmp_path / "a.hpr", recorded)
    replayed = list(frames(tmp_path / "a.hpr"))
    assert len(replayed) == 3
    for one, other in zip(recorded, replayed, strict=True):
        assert one.depth.tobytes() == other.depth.tobytes()
        assert other.depth.dtype == np.float32
        assert (one.camera, one.time, one.unit) == (other.camera, other.time, other.unit)


def test_the_file_follows_its_documented_format(tmp_path: Path) -> None:
    """The file is read without the package."""
    (frame,) = random_frames(0.5, 1)
    record(tmp_path / "a.hpr", [frame])
    line, rest = (tmp_path / "a.hpr").read_bytes().split(b"\n", 1)
    assert json.loads(line) == {
        "format": "handpose recording",
        "version": 1,
        "camera": {"fx": 300.0, "fy": 301.0, "cx": 31.5, "cy": 23.5, "width": 64, "height": 48},
        "unit_mm": 0.5,
    }
    time, length = struct.unpack_from("<dI", rest)
    assert time == frame.time
    assert len(rest) == 12 + length
    depth = np.frombuffer(zlib.decompress(rest[12:]), "<u2").reshape(48, 64) * 0.5
    assert np.array_equal(depth, frame.depth)


def test_a_truncated_file_yields_all_complete_frames(tmp_path: Path) -> None:
    record(tmp_path / "a.hpr", random_frames(1.0))
    data = (tmp_path / "a.hpr").read_bytes()
    start = data.index(b"\n") + 1
    ends, at = [], start
    while at < len(data):
        at += 12 + struct.unpack_from("<I", data, at + 8)[0]
        ends.append(at)
    assert ends[-1] == len(data)
    for size in range(start, len(data), 97):
        (tmp_path / "truncated.hpr").write_bytes(data[:size])
        assert len(list(frames(tmp_path / "truncated.hpr"))) == sum(end <= size for end in ends)


def test_frames_are_written_before_the_file_is_closed(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a.hpr")
    assert not (tmp_path / "a.hpr").exists()
    for number, frame in enumerate(random_frames(1.0), 1):
        recorder.write(frame)
        assert len(list(frames(tmp_path / "a.hpr"))) == recorder.frames == number


def test_frames_that_cannot_be_stored_exactly_are_rejected(tmp_path: Path) -> None:
    good = random_frames(1.0, 1)[0]
    for depth in (good.depth + 0.5, np.full((48, 64), 70000.0, np.float32)):
        with pytest.raises(HandPoseError, match="multiples of 1 mm"):
            record(tmp_path / "a.hpr", [good._replace(depth=depth)])
    with pytest.raises(HandPoseError, match="frames of one camera"):
        record(tmp_path / "b.hpr", [good, good._replace(camera=Camera(310.0, 301.0, 31.5, 23.5))])
    with pytest.raises(HandPoseError, match="cannot be written"):
        record(tmp_path / "no" / "c.hpr", [good])


def test_other_and_damaged_files_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "a.hpr"
    record(path, random_frames(1.0))
    data = path.read_bytes()
    line, rest = data.split(b"\n", 1)
    header = json.loads(line)
    for content, message in (
        (b"", "not a recording"),
        (b"\x89PNG\r\n\x1a\n", "not a recording"),
        (b'{"format": 3}\n', "not a recording"),
        (b"[]\n", "not a recording"),
        (json.dumps(header | {"version": 2}).encode() + b"\n" + rest, "reads version 1"),
    ):
        path.write_bytes(content)
        with pytest.raises(HandPoseError, match=message):
            list(frames(path))
    with pytest.raises(HandPoseError, match="cannot be read"):
        list(frames(tmp_path))


def test_damaged_frames_are_skipped_with_a_warning_that_names_them(tmp_path: Path) -> None:
    path = tmp_path / "a.hpr"
    recorded = random_frames(1.0)
    record(path, recorded)
    data = path.read_bytes()
    start = data.index(b"\n") + 1
    damaged = data[: start + 50] + bytes(100) + data[start + 150 :]
    bomb = zlib.compress(bytes(10_000_000))
    path.write_bytes(damaged + struct.pack("<dI", 2000.0, len(bomb)) + bomb)
    with pytest.warns(SkippedFrameWarning) as skipped:
        replayed = list(frames(path))
    assert [frame.depth.tobytes() for frame in replayed] == [frame.depth.tobytes() for frame in recorded[1:]]
    assert [str(warning.message).split(": ")[0] for warning in skipped] == [
        f"skipped {path}, frame {number}" for number in (1, 4)
    ]
