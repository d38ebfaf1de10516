"""Files are listed in the order of the numbers in their names, wherever they are listed."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from handpose import Camera
from handpose.io.inputs import list_files, natural_key
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


def test_folders_come_before_names() -> None:
    paths = ["run_10/1.png", "run_2/10.png", "run_2/9.png", "run_2b/1.png", "a/b.png"]
    assert sorted(paths, key=natural_key) == ["a/b.png", "run_2/9.png", "run_2/10.png", "run_2b/1.png", "run_10/1.png"]
