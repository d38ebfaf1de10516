"""What a person sees in a terminal, and that programs read the same JSON lines as ever."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from handpose.cli.bar import Bar, ProgressLines
from tests.helpers.command import CAMERA, OPEN, run
from tests.helpers.paths import EXAMPLES

if sys.platform == "win32":
    pytest.skip("needs a pseudoterminal", allow_module_level=True)

from tests.helpers.terminal import run_in_terminal


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two hands, an empty image, a file that is no image, and a hand in a subfolder."""
    folder = tmp_path / "frames"
    (folder / "more").mkdir(parents=True)
    for name in ("open", "thumb"):
        shutil.copy(EXAMPLES / f"{name}.png", folder)
    np.save(folder / "empty.npy", np.zeros((480, 640), np.uint16))
    (folder / "text.png").write_text("no image")
    shutil.copy(EXAMPLES / "down.png", folder / "more")
    return folder


def test_a_terminal_shows_a_line_per_image_and_a_summary(folder: Path, tmp_path: Path) -> None:
    code, text = run_in_terminal("predict", folder, *CAMERA, "-o", "out.jsonl", "--draw", "pictures", cwd=tmp_path)
    lines = text.splitlines()
    assert code == 1
    assert f"{folder / 'empty.npy'}  no hand: the image has no depth values -> pictures/empty.png" in lines
    assert any(
        re.fullmatch(rf"{folder}/open.png  right hand at 56\d mm, ±\d mm -> pictures/open.png", x) for x in lines
    )
    assert any(line.startswith(f"{folder / 'text.png'}  failed: ") for line in lines)
    assert re.fullmatch(r"2 ok, 1 no hand, 1 failed, [\d.e+]+ images/s -> out.jsonl", lines[-1])
    assert sum("1 subfolder with depth files is skipped; pass --recursive" in line for line in lines) == 1
    records = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [record.get("picture") for record in records] == [
        *("pictures/empty.png", "pictures/open.png"),
        None if records[2]["status"] == "error" else "pictures/thumb.png",
        *(["pictures/thumb.png"] if records[2]["status"] == "error" else [None]),
    ]
    for record in records:
        if "picture" in record:
            assert cv2.imread(str(tmp_path / record["picture"])) is not None


def test_json_and_quiet_in_a_terminal(tmp_path: Path) -> None:
    code, text = run_in_terminal("predict", OPEN, *CAMERA, "--json")
    assert code == 0
    _, piped, _ = run("predict", OPEN, *CAMERA)
    assert json.loads(text) == json.loads(piped)
    code, text = run_in_terminal("predict", OPEN, *CAMERA, "-q", "-o", tmp_path / "out.csv")
    assert (code, text) == (0, "")


def test_subfolders_and_lists_of_inputs(folder: Path, tmp_path: Path) -> None:
    (folder / "text.png").unlink()
    code, out, err = run("predict", folder, *CAMERA, "--recursive")
    assert (code, err) == (0, "")
    assert sorted(Path(json.loads(line)["source"]).name for line in out.splitlines()) == [
        *("down.png", "empty.npy", "open.png", "thumb.png"),
    ]
    (tmp_path / "list.txt").write_text(f"# two\n{folder / 'thumb.png'}\n\n  # {OPEN}\n{OPEN}\n")
    code, out, _ = run("predict", f"@{tmp_path / 'list.txt'}", *CAMERA)
    assert [Path(json.loads(line)["source"]).name for line in out.splitlines()] == ["thumb.png", "open.png"]


def test_a_bar_shows_count_rate_and_the_remaining_time() -> None:
    now = [0.0]
    bar = Bar("training", 1000, done=200, clock=lambda: now[0])
    now[0] = 50.0
    bar._done, bar._note = 300, "loss 0.5"
    assert bar.text() == "training [#######-----------------] 300/1,000  loss 0.5  2/s  5:50 left"


def test_a_log_gets_a_line_per_minute() -> None:
    now, lines = [0.0], list[str]()
    log = ProgressLines("predicting", 1000, lines.append, clock=lambda: now[0])
    for second in range(0, 150, 10):
        now[0] = float(second)
        log.update(2 * second)
    assert lines == [
        "predicting [##----------------------] 120/1,000  2/s  7:20 left",
        "predicting [#####-------------------] 240/1,000  2/s  6:20 left",
    ]


def test_the_line_of_an_image_names_its_picture_and_its_page(tmp_path: Path) -> None:
    _, text = run_in_terminal("predict", OPEN, *CAMERA, "--draw", "a.png", "--html", "a.html", cwd=tmp_path)
    assert text.splitlines()[0].endswith(" mm -> a.png, a.html")
    assert (tmp_path / "a.html").is_file()


def test_help_fits_in_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    listed = run("--help")[1].partition("Commands:")[2]
    assert "..." not in listed
    commands = re.findall(r"^  ([a-z-]+)  +\S", listed, re.M)
    assert len(commands) > 10
    assert run_in_terminal("predict", "-h") == run("predict", "-h")[:2]
    for command in commands:
        code, text, _ = run(command, "-h")
        assert code == 0
        assert [line for line in text.splitlines() if len(line) > 100] == []
        options = text.partition("Options:")[2].splitlines()
        assert [line for line in options if line.startswith(" " * 10)] == [], command
