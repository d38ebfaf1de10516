"""Files are listed in the order of the numbers in their names, wherever they are listed."""

from __future__ import annotations

import errno
import io
import os
import random
import subprocess
from pathlib import Path

import numpy as np
import pytest

from handpose import Camera, HandPoseError
from handpose.io import inputs
from handpose.io.inputs import expand_lists, list_files, natural_key
from handpose.live.sources.folder import frames

NAMES = [f"frame_{number}.npy" for number in (1, 2, 3, 9, 10, 11, 12, 100)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in random.Random(0).sample(NAMES, len(NAMES)):
        np.save(tmp_path / name, np.full((4, 5), int(name[6:-4]) + 500, np.uint16))
    return tmp_path


def test_folders_and_globs_are_in_the_order_of_numbers(folder: Path) -> None:
    for text in (folder, folder / "*.npy", folder / "**" / "frame_*"):
        assert [file.name for file in list_files([str(text)], (".npy",))] == NAMES


def test_a_folder_as_a_stream_has_the_same_order(folder: Path) -> None:
    depths = [frame.depth[0, 0] - 500 for frame in frames(folder, Camera(5, 5, 2, 2))]
    assert depths == [1, 2, 3, 9, 10, 11, 12, 100]


def test_a_stream_has_no_option_for_subfolders(folder: Path) -> None:
    (folder / "more").mkdir()
    np.save(folder / "more" / "1.npy", np.zeros((4, 5), np.uint16))
    with pytest.warns(UserWarning, match="1 subfolder with depth files is skipped; pass the path of a subfolder$"):
        next(iter(frames(folder, Camera(5, 5, 2, 2))))


def test_links_to_folders_are_not_followed_silently(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "1.npy").touch()
    (folder / "linked").symlink_to(elsewhere)
    (folder / "circle").symlink_to(folder)
    with pytest.warns(
        UserWarning, match="1 linked subfolder with depth files is skipped; pass the path of a subfolder$"
    ):
        assert [file.name for file in list_files([str(folder)], (".npy",), recursive=True)] == NAMES


def test_subfolders_that_cannot_be_read_are_not_skipped_silently(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "locked").mkdir()
    (folder / "open").mkdir()
    (folder / "open/1.npy").touch()
    scandir = os.scandir

    def deny(path: str) -> object:
        if Path(path).name == "locked":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", deny)
    with pytest.warns(
        UserWarning, match="cannot be read are skipped: 1, such as .*Permission denied.*locked"
    ) as warned:
        files = list_files([str(folder)], (".npy",), recursive=True)
    assert [file.name for file in files] == [*NAMES, "1.npy"]
    assert len(warned) == 1


def test_metadata_of_macos_and_color_images_in_a_folder_are_left_out(folder: Path) -> None:
    for name in ("._frame_1.npy", "frame_1.jpg", "frame_2.JPG", "notes.txt"):
        (folder / name).touch()
    (folder / ".hidden.npy").touch()
    with pytest.warns(UserWarning, match=r"ignored images that cannot contain depth: 2 \(.jpg\)$") as warned:
        assert [file.name for file in list_files([str(folder)], (".npy",))] == [".hidden.npy", *NAMES]
    assert len(warned) == 1


def test_folders_come_before_names() -> None:
    paths = ["run_10/1.png", "run_2/10.png", "run_2/9.png", "run_2b/1.png", "a/b.png"]
    assert sorted(paths, key=natural_key) == ["a/b.png", "run_2/9.png", "run_2/10.png", "run_2b/1.png", "run_10/1.png"]


def test_a_list_that_is_too_long_is_not_truncated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "MAX_LABELS_BYTES", 12)
    assert list(expand_lists(["-"], io.BytesIO(b"a.png\nb.png\n"))) == ["a.png", "b.png"]
    with pytest.raises(HandPoseError, match="standard input: expected a list of at most 12 bytes"):
        list(expand_lists(["-"], io.BytesIO(b"a.png\nb.png\nc.png\n")))


@pytest.mark.skipif(os.name == "nt", reason="file names contain no line breaks there")
def test_a_list_of_find_with_null_characters_contains_any_name(tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    names = {"a\nb.png", " c.png ", "#d.png", "e.png", os.fsdecode(b"\xff.png")}
    for name in names:
        (tmp_path / "frames" / name).touch()
    listed = subprocess.run(["find", ".", "-name", "*.png*", "-print0"], cwd=tmp_path, capture_output=True, check=True)
    assert {Path(entry).name for entry in expand_lists(["-"], io.BytesIO(listed.stdout))} == names
    (tmp_path / "list").write_bytes(b"#d.png\0a\nb.png\0")
    assert [*expand_lists([f"@{tmp_path / 'list'}"], io.BytesIO())] == ["#d.png", "a\nb.png"]


def test_a_list_of_lines_is_split_only_at_line_breaks() -> None:
    lines = "  # comment\r\n\r\n  a b.png \r\nc\u2028d\x0be.png\n".encode()
    assert [*expand_lists(["x", "-"], io.BytesIO(lines))] == ["x", "a b.png", "c\u2028d\x0be.png"]


def test_recordings_in_a_folder_are_not_ignored_silently(tmp_path: Path) -> None:
    (tmp_path / "a.MCAP").touch()
    with pytest.raises(HandPoseError, match=r"expected \.png; pass recordings by their own paths$"):
        list_files([str(tmp_path)], (".png",))
    (tmp_path / "b.png").touch()
    with pytest.warns(UserWarning, match=r"ignored recordings: 1 \(\.mcap\)$"):
        assert list_files([str(tmp_path)], (".png",)) == [tmp_path / "b.png"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"source": "a.png", "xyz_mm": [[1.0, 2.0, 3.0]]}\n' * 2, "standard input: is a file of records"),
        (b"\0\0", "standard input: the list of inputs is empty"),
        (b"x" * 3000, "cannot be read (File name too long)"),
    ],
)
def test_text_that_is_no_path_is_one_short_line(text: bytes, message: str) -> None:
    with pytest.raises(HandPoseError) as error:
        list_files(expand_lists(["-"], io.BytesIO(text)), (".png",))
    assert message in str(error.value)
    assert len(str(error.value)) < 250
