from __future__ import annotations

import contextlib
import errno
import os
import threading
from pathlib import Path

import pytest

from handpose.errors import HandPoseError
from handpose.io import resumable
from handpose.io.atomic import write_atomically
from handpose.io.resumable import GrowingFile
from tests.helpers.faults_jobs import disk_of

SETTINGS = {"unit": "mm", "box": (1, 2, 3, 4)}
LINES = [f"{i} " + "x" * (7 * i % 13) + "\n" for i in range(8)]
COMPLETE = "head\n" + "".join(LINES)


@pytest.fixture(autouse=True)
def skip_syncs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def frames(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "frames"
    folder.mkdir()
    frames = [folder / f"{i}.png" for i in range(len(LINES))]
    for frame in frames[1:]:  # the first frame does not exist, which is a result as well
        frame.write_text("depth")
    return frames


def grow(path: Path, frames: list[Path], *, resume: bool = True, settings: object = SETTINGS) -> GrowingFile:
    """Process the remaining frames of the job."""
    file = GrowingFile(path, "head\n", settings, resume=resume)
    try:
        for i, frame in enumerate(frames):
            if file.status_of(frame) is None:
                file.write(frame, LINES[i], "error" if i == 0 else "ok")
    finally:
        file.close()
    return file


def test_a_job_interrupted_at_any_byte_resumes_with_every_frame_once(tmp_path: Path, frames: list[Path]) -> None:
    out, manifest = tmp_path / "out", tmp_path / "out.manifest.jsonl"
    assert grow(out, frames).failed == 1
    assert out.read_text() == COMPLETE
    complete = manifest.read_bytes()
    first = complete.index(b"\n") + 1
    for cut in range(first, len(complete) + 1, 3):
        # The output always contains the frames in the manifest, and possibly a truncated line.
        manifest.write_bytes(complete[:cut])
        out.write_text(
            COMPLETE[: len(COMPLETE) - cut % 5]
            if complete[:cut].count(b"\n") < len(LINES)
            else COMPLETE + "torn"[: cut % 5]
        )
        file = grow(out, frames)
        assert (out.read_text(), manifest.read_bytes()) == (COMPLETE, complete), cut
        assert file.failed == 1


def test_a_full_disk_keeps_complete_frames(tmp_path: Path, frames: list[Path]) -> None:
    stopped = 0
    for size in range(100, 800, 7):
        out = tmp_path / f"{size}"
        with disk_of(size), contextlib.suppress(OSError):
            grow(out, frames)
            stopped -= 1
        stopped += 1
        if out.exists():
            text = out.read_text()
            assert COMPLETE.startswith(text)
            assert text in {"", "head\n"} or text.endswith("\n")
        grow(out, frames)
        assert out.read_text() == COMPLETE
    assert stopped > 50


def test_writing_continues_when_the_disk_has_space_again(tmp_path: Path, frames: list[Path]) -> None:
    out = tmp_path / "out"
    file = GrowingFile(out, "head\n", SETTINGS, resume=True)
    with disk_of((tmp_path / "out.manifest.jsonl").stat().st_size + 10), pytest.raises(OSError, match="large"):
        file.write(frames[0], LINES[0], "ok")
    file.close()
    assert grow(out, frames).failed == 0
    assert out.read_text() == COMPLETE


def test_lines_that_a_disk_lost_are_written_again(
    tmp_path: Path, frames: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk reports lost pages once; the next call of fsync succeeds although they are gone."""
    out = tmp_path / "out"
    synced: list[int] = []

    def fsync(_: int) -> None:
        synced.append(out.stat().st_size)
        if len(synced) == 6:  # one call for the start of the manifest, and two per frame
            with out.open("r+b") as file:
                file.seek(synced[3])
                file.write(bytes(synced[5] - synced[3]))
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(resumable, "WORK_PER_SYNC", 0.0)
    with pytest.raises(OSError, match="Input/output error"):
        grow(out, frames)
    grow(out, frames)
    assert out.read_text() == COMPLETE


def test_a_job_is_not_resumed_after_changes(tmp_path: Path, frames: list[Path]) -> None:
    out = tmp_path / "out"
    grow(out, frames[:4])

    def assert_rejected(message: str, resumed: list[Path] = frames, **options: object) -> None:
        before = out.read_bytes()
        with pytest.raises(HandPoseError, match=message) as error:
            grow(out, resumed, **options)
        assert "\n" not in str(error.value)
        assert out.read_bytes() == before

    assert_rejected("was started with unit 'mm', not 'm'", settings=SETTINGS | {"unit": "m"})
    assert_rejected("was started with more None, not 1", settings=SETTINGS | {"more": 1})
    with contextlib.closing(GrowingFile(out, "", SETTINGS, resume=True)):
        assert_rejected("another process is writing")
    frames[2].write_text("another depth")
    assert_rejected("2.png: has changed since its result was written, .*; leave this input out")
    os.utime(frames[1], (1, 1))
    assert_rejected("1.png: has changed .* written .another modification time, the same size., but .*; leave this")
    frames[1].unlink()
    frames[2].unlink()
    assert_rejected("1.png: no longer exists, but .* contains its result; leave this input out")
    grow(out, [frames[0], frames[3]])
    out.write_text("short")
    assert_rejected("has 5 bytes, but its manifest records")
    (tmp_path / "out.manifest.jsonl").write_text("[]\n")
    assert_rejected("manifest.jsonl: is damaged")
    (tmp_path / "out.manifest.jsonl").unlink()
    assert_rejected("has no manifest to resume from")
    grow(out, frames[5:], resume=False)
    assert out.read_text() == "head\n" + "".join(LINES[:3])


def test_a_job_resumes_with_relative_paths_and_more_frames(
    tmp_path: Path, frames: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    grow(tmp_path / "out", frames[:5])
    monkeypatch.chdir(frames[0].parent)
    grow(tmp_path / "out", [Path("../frames") / frame.name for frame in frames])
    assert (tmp_path / "out").read_text() == COMPLETE


def test_a_file_is_replaced_atomically(tmp_path: Path) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_bytes(b"old")
    link.symlink_to(file)
    with disk_of(1000), pytest.raises(OSError, match="large"):
        write_atomically(link, b"new" * 1000)
    assert file.read_bytes() == b"old"
    write_atomically(link, b"new" * 1000)
    assert file.read_bytes() == b"new" * 1000
    assert sorted(tmp_path.iterdir()) == [file, link]
    assert link.is_symlink()


@pytest.mark.skipif(os.name == "nt", reason="there is no `flock`")
def test_a_file_system_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As NFS without its lock manager."""

    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(HandPoseError, match=r"out: cannot be locked, .*No locks available.*write it to another disk"):
        GrowingFile(tmp_path / "out", "", SETTINGS, resume=False)


@pytest.mark.skipif(os.name == "nt", reason="there are no such pipes")
def test_a_pipe_or_device_is_written_to_instead_of_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()))
    reader.start()
    write_atomically(pipe, b"content")
    reader.join()
    assert received == [b"content"]
    assert list(tmp_path.iterdir()) == [pipe]
    assert pipe.is_fifo()


@pytest.mark.skipif(os.name == "nt", reason="links require permissions there")
def test_a_link_to_an_output_in_use_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    link = tmp_path / "links/latest.txt"
    link.symlink_to(tmp_path / "out.txt")
    for used, other in ((tmp_path / "out.txt", link), (link, tmp_path / "out.txt")):
        with (
            contextlib.closing(GrowingFile(used, "", SETTINGS, resume=False)),
            pytest.raises(HandPoseError, match="another process is writing"),
        ):
            GrowingFile(other, "", SETTINGS, resume=False)
