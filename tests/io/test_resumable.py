from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from handpose.errors import HandPoseError
from handpose.io.atomic import write_atomically
from handpose.io.resumable import GrowingFile
from tests.helpers.faults_jobs import disk_of

SETTINGS = {"unit": "mm", "box": (1, 2, 3, 4)}
LINES = [f"{i} " + "x" * (7 * i % 13) + "\n" for i in range(8)]
WHOLE = "head\n" + "".join(LINES)


@pytest.fixture(autouse=True)
def quick_syncs(monkeypatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def frames(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "frames"
    folder.mkdir()
    frames = [folder / f"{i}.png" for i in range(len(LINES))]
    for frame in frames[1:]:  # the first one is not there, which is a result as well
        frame.write_text("depth")
    return frames


def grow(path: Path, frames: list[Path], *, resume: bool = True, settings: object = SETTINGS) -> GrowingFile:
    """Does what is left of the job."""
    file = GrowingFile(path, "head\n", settings, resume=resume)
    try:
        for i, frame in enumerate(frames):
            if not file.holds(frame):
                file.write(frame, LINES[i], "error" if i == 0 else "ok")
    finally:
        file.close()
    return file


def test_a_job_cut_at_any_byte_is_finished_with_every_frame_once(tmp_path: Path, frames: list[Path]) -> None:
    out, manifest = tmp_path / "out", tmp_path / "out.manifest.jsonl"
    assert grow(out, frames).failed == 1
    assert out.read_text() == WHOLE
    said = manifest.read_bytes()
    first = said.index(b"\n") + 1
    for cut in range(first, len(said) + 1, 3):
        # The output always has at least what the manifest names, and maybe a torn line more.
        manifest.write_bytes(said[:cut])
        out.write_text(
            WHOLE[: len(WHOLE) - cut % 5] if said[:cut].count(b"\n") < len(LINES) else WHOLE + "torn"[: cut % 5]
        )
        file = grow(out, frames)
        assert (out.read_text(), manifest.read_bytes()) == (WHOLE, said), cut
        assert file.failed == 1


def test_a_full_disk_keeps_whole_frames(tmp_path: Path, frames: list[Path]) -> None:
    stopped = 0
    for size in range(100, 800, 7):
        out = tmp_path / f"{size}"
        with disk_of(size), contextlib.suppress(OSError):
            grow(out, frames)
            stopped -= 1
        stopped += 1
        if out.exists():
            text = out.read_text()
            assert WHOLE.startswith(text)
            assert text in {"", "head\n"} or text.endswith("\n")
        grow(out, frames)
        assert out.read_text() == WHOLE
    assert stopped > 50


def test_room_that_comes_back_is_used(tmp_path: Path, frames: list[Path]) -> None:
    out = tmp_path / "out"
    file = GrowingFile(out, "head\n", SETTINGS, resume=True)
    with disk_of((tmp_path / "out.manifest.jsonl").stat().st_size + 10), pytest.raises(OSError, match="large"):
        file.write(frames[0], LINES[0], "ok")
    file.close()
    assert grow(out, frames).failed == 0
    assert out.read_text() == WHOLE


def test_what_is_no_part_of_the_job_is_refused(tmp_path: Path, frames: list[Path]) -> None:
    out = tmp_path / "out"
    grow(out, frames[:4])

    def refused(message: str, resumed: list[Path] = frames, **options: object) -> None:
        before = out.read_bytes()
        with pytest.raises(HandPoseError, match=message) as error:
            grow(out, resumed, **options)
        assert "\n" not in str(error.value)
        assert out.read_bytes() == before

    refused("was begun with unit 'mm', now it is 'm'", settings=SETTINGS | {"unit": "m"})
    refused("was begun with more None, now it is 1", settings=SETTINGS | {"more": 1})
    with contextlib.closing(GrowingFile(out, "", SETTINGS, resume=True)):
        refused("another process is writing")
    frames[2].write_text("another depth")
    refused("has changed since its result was written")
    frames[2].unlink()
    refused("has changed since")
    out.write_text("short")
    refused("has 5 bytes, but its manifest knows of")
    (tmp_path / "out.manifest.jsonl").write_text("[]\n")
    refused("manifest.jsonl: is damaged")
    (tmp_path / "out.manifest.jsonl").unlink()
    refused("has no manifest to resume from")
    grow(out, frames[5:], resume=False)
    assert out.read_text() == "head\n" + "".join(LINES[:3])


def test_a_folder_may_be_named_in_many_ways_and_grow(tmp_path: Path, frames: list[Path], monkeypatch) -> None:
    grow(tmp_path / "out", frames[:5])
    monkeypatch.chdir(frames[0].parent)
    grow(tmp_path / "out", [Path("../frames") / frame.name for frame in frames])
    assert (tmp_path / "out").read_text() == WHOLE


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
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
