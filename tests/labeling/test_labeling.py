"""Labels by hand: the file, the session, the server, and a person in a real browser."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from handpose import Camera, Distortion, HandPose, HandPoseError, HandPoseEstimator, Recorder, read_depth
from handpose.datasets.records import open_records
from handpose.errors import DepthReadError
from handpose.geometry.layouts import ICVL16, MSRA21
from handpose.inference.query import Query
from handpose.io.warn import InputWarning, SkippedFrameWarning
from handpose.labeling.extract import extract_frames
from handpose.labeling.labels import LabelFile, StoredLabel
from handpose.labeling.server import serve
from handpose.labeling.session import LabelingSession
from handpose.recordings.frame import DepthFrame
from handpose.recordings.open import open_recording
from handpose.recordings.recording import Recording, StoredFrame
from tests.helpers.browser import open_browser
from tests.helpers.command import run
from tests.helpers.datasets import png16
from tests.helpers.paths import EXAMPLES

if TYPE_CHECKING:
    from playwright.sync_api import Page

CAMERA = Camera.parse(str(EXAMPLES / "camera.json"))
LABEL = StoredLabel("right", np.tile([320.0, 240.0, 500.0], (21, 1)))


@pytest.fixture(scope="module")
def estimator() -> HandPoseEstimator:
    return HandPoseEstimator.from_pretrained("msra", device="cpu")


@pytest.fixture
def frames(tmp_path: Path) -> list[Path]:
    """Three synthetic depth images of a right hand, in the folder of the labels."""
    (tmp_path / "frames").mkdir()
    return [Path(shutil.copy(EXAMPLES / f"{name}.png", tmp_path / "frames")) for name in ("down", "open", "thumb")]


@contextmanager
def session_of(
    frames: list[Path], estimator: HandPoseEstimator, query: Query | None = None
) -> Iterator[LabelingSession]:
    with closing(LabelFile(frames[0].parents[1] / "labels.jsonl", estimator.layout)) as labels:
        yield LabelingSession(frames, labels, estimator, query or Query(CAMERA, hand="right"))


def records_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# The file


def test_frames_of_a_recording_are_labeled_and_read_like_others(tmp_path: Path, estimator: HandPoseEstimator) -> None:
    recording = open_recording(EXAMPLES / "hand.hpr")
    count = recording.count()
    extracted = extract_frames(recording, tmp_path / "labels-frames", 3)
    files, camera, unit = extracted
    assert [int(file.stem) for file in files] == [0, round((count - 1) / 2), count - 1]
    originals = [frame.decode() for number, frame in enumerate(recording.read()) if number in (0, count - 1)]
    for file, original in zip((files[0], files[-1]), originals, strict=True):
        assert np.array_equal(read_depth(file, unit), np.rint(original.depth / original.unit) * original.unit)
        assert camera == original.camera
    before = [file.stat().st_mtime_ns for file in files]
    assert extract_frames(recording, tmp_path / "labels-frames", 3) == extracted
    assert [file.stat().st_mtime_ns for file in files] == before
    with closing(LabelFile(tmp_path / "labels.jsonl", estimator.layout)) as labels:
        session = LabelingSession(files, labels, estimator, Query(camera, hand="right", unit=unit))
        shown = session.frame(1, "right")
        session.accept(1, shown["source"], "right", np.array(shown["uvz"]))
    dataset = open_records(tmp_path / "labels.jsonl", "train")
    assert np.array_equal(dataset[0].depth, read_depth(files[1], unit))
    assert np.allclose(camera.project(dataset.xyz[0]), shown["uvz"], atol=0.05)


def test_recordings_of_the_same_name_are_not_mixed_up(tmp_path: Path) -> None:
    for folder, distance in (("monday", 500.0), ("tuesday", 700.0)):
        (tmp_path / folder).mkdir()
        with closing(Recorder(tmp_path / folder / "session.mcap")) as recorder:
            recorder.write(DepthFrame(np.full((48, 64), distance, np.float32), Camera(200.0, 200.0, 31.5, 23.5), 0.0))
    first, second = (open_recording(tmp_path / folder / "session.mcap") for folder in ("monday", "tuesday"))
    files, *_ = extract_frames(first, tmp_path / "labels-frames", 9)
    with pytest.raises(HandPoseError, match=r"000000\.png: contains a frame of another recording .* session\.mcap"):
        extract_frames(second, tmp_path / "labels-frames", 9)
    assert (read_depth(files[0]) == 500.0).all()
    assert (read_depth(extract_frames(second, tmp_path / "others", 9).files[0]) == 700.0).all()


def test_recordings_of_floats_and_damaged_frames(tmp_path: Path) -> None:
    depth = np.array([[500.25, 70_000.0, 0.0]], np.float32)

    def damaged() -> DepthFrame:
        raise DepthReadError("the frame is damaged")

    frame = DepthFrame(depth, Camera(500.0, 500.0, 1.0, 0.0, 3, 1), 0.0, 1000.0)
    stored = [StoredFrame(Path(f"a.bag#{number}"), decode) for number, decode in enumerate((damaged, lambda: frame))]
    recording = Recording(Path("a.bag"), lambda: 2, lambda: iter(stored))
    with pytest.warns(SkippedFrameWarning, match="a.bag#0"):
        files, _, unit = extract_frames(recording, tmp_path, 9)
    assert ([file.name for file in files], unit) == (["000001.png"], "mm")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert read_depth(files[0]).tolist() == [[500.0, 0.0, 0.0]]
    broken = Recording(Path("a.bag"), lambda: 1, lambda: iter(stored[:1]))
    with pytest.warns(SkippedFrameWarning), pytest.raises(HandPoseError, match="no complete frame"):
        extract_frames(broken, tmp_path, 9)


def test_the_file_has_one_record_per_frame_and_keeps_all_others(frames: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    other = '{"source":  "elsewhere.png", "layout": "msra", "camera": {"fx":1,"fy":1,"cx":0,"cy":0}, "uvz": null}'
    predicted = {
        **{"source": "frames/down.png", "layout": "msra", "hand": "left", "camera": CAMERA.to_dict(), "status": "ok"},
        **{"uvz": [[1.0, 2.0, 300.0], *[None] * 20], "model": "msra", "error_mm": [1.0] * 21, "sequence": "a"},
    }
    path.write_text(f"{other}\n\n{json.dumps(predicted)}\n")
    with closing(LabelFile(path, MSRA21)) as labels:
        assert [labels.state(frame) for frame in frames] == ["unchecked", "new", "new"]
        stored = labels.label(frames[0])
        assert stored is not None
        assert stored.hand == "left"
        assert stored.uvz[0].tolist() == [1.0, 2.0, 300.0]
        assert np.isnan(stored.uvz[1:]).all()
        labels.accept(frames[1], LABEL, {"layout": "msra", "uvz": [[1.0, 1.0, 500.0]] * 21, "camera": CAMERA.to_dict()})
        labels.accept(frames[0], LABEL, {"layout": "msra", "uvz": [[2.0, 2.0, 500.0]] * 21, "camera": CAMERA.to_dict()})
        labels.skip(frames[1])
        labels.skip(frames[2])
    assert path.read_text().splitlines()[0] == other
    first, second, third = records_of(path)[1:]
    assert first["sequence"] == "a"
    assert not {"model", "status", "error_mm"} & set(first)
    assert (first["source"], first["uvz"][0], first["labeled_by"]) == ("frames/down.png", [2.0, 2.0, 500.0], "person")
    assert second == {"source": "frames/open.png", "status": "skipped", "labeled_by": "person"}
    assert third["source"] == "frames/thumb.png"
    with closing(LabelFile(path, MSRA21)) as labels:
        assert [labels.state(frame) for frame in frames] == ["accepted", "skipped", "skipped"]


def test_what_predict_writes_can_be_checked(frames: list[Path], tmp_path: Path) -> None:
    """Its sources are relative to the current folder, which is not that of the file."""
    (tmp_path / "out").mkdir()
    code, _, _ = run("predict", "frames", "-c", EXAMPLES / "camera.json", "-o", "out/labels.jsonl", cwd=tmp_path)
    assert code == 0
    program = f"""
from handpose.geometry.layouts import MSRA21
from handpose.labeling.labels import LabelFile
labels = LabelFile(Path("out/labels.jsonl"), MSRA21)
print([labels.state(Path(file)) for file in {[str(file) for file in frames]}])
"""
    done = subprocess.run(
        [sys.executable, "-c", f"from pathlib import Path\n{program}"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert done.stdout.split() == ["['unchecked',", "'unchecked',", "'unchecked']"]


def test_invalid_files_are_rejected_and_unchanged(frames: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    good = {"source": "frames/open.png", "layout": "msra", "camera": CAMERA.to_dict(), "uvz": [[1, 2, 300]] * 21}
    for lines, message in (
        ([good, good | {"source": "frames/../frames/open.png"}], "lines 1 and 2: two records of"),
        ([good | {"layout": "icvl", "uvz": [[1, 2, 300]] * 16}], "line 1: has the layout icvl, and the model msra"),
        ([good, good | {"source": "b.png", "uvz": 5}], "line 2: not a record"),
        ([{"uvz": None}], "line 1: source is missing"),
    ):
        text = "".join(json.dumps(line) + "\n" for line in lines)
        path.write_text(text)
        for _ in range(2):  # a file that is rejected is not locked
            with pytest.raises(HandPoseError, match=message):
                LabelFile(path, MSRA21)
        assert path.read_text() == text
    with pytest.raises(HandPoseError, match="the folder does not exist"):
        LabelFile(tmp_path / "no" / "labels.jsonl", MSRA21)
    path.unlink()
    with closing(LabelFile(path, MSRA21)), pytest.raises(HandPoseError, match="another process"):
        LabelFile(path, ICVL16)


def test_changes_by_another_program_are_not_overwritten(frames: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    with closing(LabelFile(path, MSRA21)) as labels:
        labels.skip(frames[0])
        labels.skip(frames[0])
        with path.open("a") as file:
            file.write('{"source": "elsewhere.png"}\n')
        before = path.read_bytes()
        with pytest.raises(HandPoseError, match="was changed by another program since it was read"):
            labels.skip(frames[1])
        assert path.read_bytes() == before
        assert labels.state(frames[1]) == "new"
    with closing(LabelFile(path, MSRA21)) as labels:
        labels.skip(frames[1])
    assert [values["source"] for values in records_of(path)] == ["frames/down.png", "elsewhere.png", "frames/open.png"]


def test_a_full_disk_loses_no_label(frames: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "labels.jsonl"
    with closing(LabelFile(path, MSRA21)) as labels:
        labels.skip(frames[0])
        before = path.read_bytes()

        def fail(*_: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr("handpose.io.atomic.write_all", fail)
            with pytest.raises(HandPoseError, match=r"cannot be written \(No space left on device\)"):
                labels.skip(frames[1])
        assert path.read_bytes() == before
        assert labels.state(frames[1]) == "new"
        labels.skip(frames[1])
        assert len(records_of(path)) == 2


# The session


def test_frames_come_with_the_prediction_of_the_library(frames: list[Path], estimator: HandPoseEstimator) -> None:
    with session_of(frames, estimator) as session:
        shown, either = session.frame(1, "right"), session.frame(1, "auto")
        assert np.array_equal(session.depth(1), read_depth(frames[1]))
    pose = estimator.predict(frames[1], camera=CAMERA)
    assert np.allclose(shown["uvz"], pose.uvz, atol=1e-6)
    assert np.allclose(shown["errors"], pose.error_mm, atol=1e-6)
    assert (shown["hand"], shown["width"], shown["height"], shown["label"]) == ("right", 640, 480, None)
    assert either["hand"] == estimator.predict(frames[1], camera=CAMERA).hand


@pytest.mark.filterwarnings("ignore:looks like a:handpose.InputWarning")
def test_the_side_of_a_labeled_frame_is_not_predicted(frames: list[Path], estimator: HandPoseEstimator) -> None:
    with session_of(frames, estimator, Query(CAMERA)) as session:
        assert (session.overview()["hand"], session.frame(1, "auto")["hand"]) == ("auto", "right")
        session.accept(1, str(frames[1]), "left", np.tile([320.0, 240.0, 500.0], (21, 1)))
        shown = session.frame(1, "auto")
    assert shown["hand"] == "left"
    assert np.allclose(shown["uvz"], estimator.predict(frames[1], camera=CAMERA, hand="left").uvz, atol=1e-6)


def test_rays_are_those_of_the_camera(frames: list[Path], estimator: HandPoseEstimator) -> None:
    lens = replace(CAMERA, distortion=Distortion("brown_conrady", (0.1, -0.2, 0.001, 0.002)))
    for camera in (CAMERA, lens):
        with session_of(frames, estimator, Query(camera)) as session:
            rays = session.frame(1, "right")["rays"]
        for i in (0, rays["columns"] - 1, rays["columns"] * rays["rows"] - 1):
            u, v = rays["step"] * (i % rays["columns"]), rays["step"] * (i // rays["columns"])
            assert camera.project(np.array([rays["x"][i], rays["y"][i], 1.0]))[:2] == pytest.approx([u, v], abs=1e-6)
        assert rays["step"] * (rays["columns"] - 1) >= 639


def test_a_point_selects_one_of_two_hands(frames: list[Path], estimator: HandPoseEstimator) -> None:
    depth = cv2.imread(str(frames[1]), cv2.IMREAD_UNCHANGED)
    png16(frames[0], np.hstack([depth, depth]))
    camera = replace(CAMERA, width=1280, cx=CAMERA.cx + 320)
    palm = estimator.predict(frames[1], camera=CAMERA).uvz[:, :2].mean(axis=0)
    with session_of(frames, estimator, Query(camera)) as session:
        for offset in (0.0, 640.0):
            shown = np.array(session.frame(0, "right", (palm[0] + offset, palm[1]))["uvz"])
            assert np.linalg.norm(shown[:, :2].mean(axis=0) - palm - [offset, 0.0]) < 15.0
        png16(frames[0], np.hstack([depth, 0 * depth]))
        shown = session.frame(0, "right", (1200.0, 200.0))
    assert shown == {"source": str(frames[0]), "error": "there is no depth value at this point"}


def test_records_are_closed_forms_of_the_joints(
    frames: list[Path], estimator: HandPoseEstimator, tmp_path: Path
) -> None:
    """Joint 0 is complete, joint 1 has no depth, and the others are unknown."""
    uvz = np.full((21, 3), np.nan)
    uvz[0], uvz[1, :2] = [400.0, 200.0, 450.0], [410.0, 190.0]
    with session_of(frames, estimator, Query(CAMERA, unit=1.0)) as session:
        session.accept(1, str(frames[1]), "left", uvz)
    (record,) = records_of(tmp_path / "labels.jsonl")
    x, y = (400.0 - CAMERA.cx) * 450.0 / CAMERA.fx, (200.0 - CAMERA.cy) * 450.0 / CAMERA.fy
    assert record["xyz_mm"] == [pytest.approx([x, y, 450.0], abs=0.006), *[None] * 20]
    assert record["uvz"] == [[400.0, 200.0, 450.0], [410.0, 190.0, None], *[None] * 19]
    assert (record["hand"], record["unit"], record["layout"]) == ("left", 1.0, "msra")
    dataset = open_records(tmp_path / "labels.jsonl", "test")
    assert np.array_equal(np.isfinite(dataset.uvz[0]).sum(axis=1), [3, 2, *[0] * 19])
    assert np.isfinite(dataset[0].center).all()  # found in the image, since the frame was not predicted


def test_the_center_is_that_of_the_prediction_unless_the_joints_are_elsewhere(
    frames: list[Path], estimator: HandPoseEstimator, tmp_path: Path
) -> None:
    pose, far = estimator.predict(frames[1], camera=CAMERA), np.array([400.0, 0.0, 0.0])
    with session_of(frames, estimator) as session:
        session.frame(1, "right")
        for moved, center in ((np.zeros(3), pose.center), (far, pose.xyz.mean(axis=0) + far)):
            session.accept(1, str(frames[1]), "right", CAMERA.project(pose.xyz + moved))
            (record,) = records_of(tmp_path / "labels.jsonl")
            assert record["center_mm"] == pytest.approx(center, abs=0.01)
            assert record["cube_mm"] == pose.cube


def test_invalid_labels_are_rejected(frames: list[Path], estimator: HandPoseEstimator, tmp_path: Path) -> None:
    with session_of(frames, estimator) as session:
        for index, source, uvz, message in (
            (1, str(frames[0]), LABEL.uvz, "not a frame of this session"),
            (7, str(frames[0]), LABEL.uvz, "not a frame of this session"),
            (1, str(frames[1]), LABEL.uvz[:20], "expected 21 joints"),
            (1, str(frames[1]), LABEL.uvz * np.nan, "no joint is known"),
            (1, str(frames[1]), LABEL.uvz * [1.0, 1.0, -1.0], "depths must be above 0"),
        ):
            with pytest.raises(HandPoseError, match=message):
                session.accept(index, source, "right", uvz)
        with pytest.raises(HandPoseError, match="between 0 and 2"):
            session.frame(3, "right")
    assert not (tmp_path / "labels.jsonl").exists()


def test_a_label_of_another_window_is_neither_replaced_nor_deleted(
    frames: list[Path], estimator: HandPoseEstimator, tmp_path: Path
) -> None:
    source = str(frames[1])
    with session_of(frames, estimator) as session:
        first, second = (session.frame(1, "right")["version"] for _ in range(2))
        newer = session.accept(1, source, "right", LABEL.uvz, first)
        with pytest.raises(HandPoseError, match="labeled or skipped in another window since; reload the page"):
            session.accept(1, source, "left", LABEL.uvz + 9.0, second)
        with pytest.raises(HandPoseError, match="in another window"):
            session.skip(1, source, second)
        (record,) = records_of(tmp_path / "labels.jsonl")
        assert (record["hand"], record["uvz"]) == ("right", LABEL.uvz.tolist())
        assert session.frame(1, "right")["version"] == newer
        session.accept(1, source, "left", LABEL.uvz, newer)
    assert [record["hand"] for record in records_of(tmp_path / "labels.jsonl")] == ["left"]


# The server


def test_only_the_page_of_the_server_is_answered(
    frames: list[Path], estimator: HandPoseEstimator, tmp_path: Path
) -> None:
    """Neither another site in the same browser nor malformed requests change the labels."""
    skip = json.dumps({"source": str(frames[0]), "skip": True})
    as_json = {"Content-Type": "application/json"}
    with session_of(frames, estimator) as session, closing(serve(session, "127.0.0.1", 0)) as server:
        own = f"http://127.0.0.1:{server.server_port}"

        def ask(
            method: str, path: str, body: str | None = None, headers: dict[str, str] | None = None
        ) -> tuple[int, bytes]:
            connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()

        for expected, method, path, body, headers in (
            (403, "GET", "/", None, {"Host": "evil.example"}),
            (403, "GET", "/frames/0", None, {"Host": f"evil.example:{server.server_port}"}),
            (403, "POST", "/frames/0", skip, {**as_json, "Origin": "http://evil.example"}),
            (403, "POST", "/frames/0", skip, {**as_json, "Origin": "null"}),
            (400, "POST", "/frames/0", skip, {"Content-Type": "text/plain", "Origin": own}),
            (400, "POST", "/frames/0", "{}", {**as_json, "Content-Length": "70000"}),
            (400, "POST", "/frames/0", "[" * 60_000, as_json),
            (400, "POST", "/frames/0", "[1]", as_json),
            (400, "POST", "/frames/9", skip, as_json),
            (400, "POST", "/frames/0", json.dumps({"source": str(frames[0]), "hand": "right"}), as_json),
            (400, "POST", "/frames/0", '{"source": "", "hand": "right", "uvz": [[1, 2], [3]]}', as_json),
            (400, "POST", "/frames/0", '{"source": "", "hand": "right", "uvz": [[1e999, 2, 3]]}', as_json),
            (400, "POST", "/frames/0", '{"source": "", "hand": "third", "uvz": []}', as_json),
            (400, "GET", "/frames/0?hand=third", None, {}),
            (400, "GET", "/frames/0?hand=right&u=nan&v=1", None, {}),
            (400, "GET", "/frames/3/depth", None, {}),
            (404, "GET", "/../../etc/passwd", None, {}),
        ):
            status, content = ask(method, path, body, headers)
            assert status == expected, (method, path, content)
            assert json.loads(content)["error"]
        assert not (tmp_path / "labels.jsonl").exists()
        assert ask("GET", "/", None, {"Host": f"localhost:{server.server_port}"})[0] == 200
        assert ask("POST", "/frames/0", skip, {**as_json, "Origin": own})[0] == 200
    assert len(records_of(tmp_path / "labels.jsonl")) == 1


def test_file_names_cannot_add_markup(estimator: HandPoseEstimator, tmp_path: Path) -> None:
    name = "</script><b>.png"
    (tmp_path / "frames").mkdir()
    file = Path(shutil.copy(EXAMPLES / "open.png", tmp_path / "frames" / name.replace("/", "_")))
    with session_of([file], estimator) as session, closing(serve(session, "127.0.0.1", 0)) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
        connection.request("GET", "/")
        page = connection.getresponse().read().decode()
    assert "<b>" not in page
    assert "\\u003cb>.png" in page


def test_a_port_in_use_is_reported(frames: list[Path], estimator: HandPoseEstimator) -> None:
    with session_of(frames, estimator) as session, socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(HandPoseError, match="cannot listen"):
            serve(session, "127.0.0.1", port)


def test_the_command_reports_invalid_arguments(frames: list[Path], tmp_path: Path) -> None:
    folder, camera = frames[0].parent, EXAMPLES / "camera.json"
    for arguments, message in (
        ((folder, "-c", "nonsense", "-o", tmp_path / "a.jsonl"), "camera must be one of"),
        ((tmp_path, "-c", camera, "-o", tmp_path / "a.jsonl"), "1 subfolder with depth files is skipped"),
        ((folder, "-c", camera, "-o", tmp_path / "no" / "a.jsonl"), "the folder does not exist"),
        ((folder, "-o", tmp_path / "a.jsonl"), "depth files need --camera"),
        ((EXAMPLES / "hand.hpr", folder, "-o", tmp_path / "a.jsonl"), "label one recording at a time"),
        ((EXAMPLES / "hand.hpr", "-o", tmp_path / "no" / "a.jsonl"), "the folder does not exist"),
    ):
        code, out, log = run("label", *arguments, "--no-browser", "--port", "0")
        assert (code, out, log.startswith("error: "), log.count("\n")) == (2, "", True, 1)
        assert message in log
    assert not (tmp_path / "a.jsonl").exists()


# A person in a browser


@contextmanager
def labeling(folder: Path, *, kill: bool = False) -> Iterator[str]:
    """Label the frames of a folder with the command, yield the address of the page, and stop or kill the command."""
    options = ["-o", str(folder / "labels.jsonl"), "-c", str(EXAMPLES / "camera.json"), "--no-browser", "--port", "0"]
    command = [sys.executable, "-m", "handpose", "label", str(folder / "frames"), *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            yield process.stderr.readline().split()[0]
        finally:
            process.send_signal(signal.SIGKILL if kill else signal.SIGINT)
            assert process.communicate(timeout=20)[1] == ""


class Person:
    """Sees the page and moves the mouse. Where a pixel is on the screen follows from the size of the picture alone."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.keys = page, page.keyboard
        page.goto(address)

    def wait(self, number: int) -> None:
        """Wait until a frame can be labeled."""
        self.page.locator("#accept:enabled").wait_for(timeout=60_000)
        assert self.page.get_by_label("Frame number").input_value() == str(number)

    def choose(self, joint: str) -> None:
        self.page.get_by_title(joint, exact=True).click()

    def box(self, canvas: str) -> tuple[float, float, float, float]:
        box = self.page.locator(canvas).bounding_box()
        assert box is not None
        return box["x"], box["y"], box["width"], box["height"]

    @property
    def scale(self) -> float:
        """CSS px per pixel of a 640 x 480 image that is shown completely."""
        _, _, width, height = self.box("#image")
        return min(width / 640, height / 480)

    def position(self, uvz: np.ndarray) -> tuple[float, float]:
        """Return the position of a joint in an image that is shown completely."""
        x, y, width, height = self.box("#image")
        left, top = x + (width - 640 * self.scale) / 2, y + (height - 480 * self.scale) / 2
        return left + (uvz[0] + 0.5) * self.scale, top + (uvz[1] + 0.5) * self.scale

    def drag(self, start: tuple[float, float], dx: int, dy: int) -> None:
        """Drag from a position by a number of CSS px."""
        x, y = round(start[0]), round(start[1])
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        self.page.mouse.move(x + dx, y + dy, steps=5)
        self.page.mouse.up()


def surface(depth: np.ndarray, uvz: np.ndarray, pose: HandPose) -> float:
    """The depth of the nearest pixel of the hand, which must be within 8 mm."""
    v, u = np.nonzero((depth > 0) & (abs(depth - pose.center[2]) < pose.cube / 2))
    distances = np.hypot(u - uvz[0], v - uvz[1])
    nearest = distances.argmin()
    assert distances[nearest] < 8.0 * CAMERA.fx / pose.center[2]
    return float(depth[v[nearest], u[nearest]])


def is_close(row: list[float | None] | None, expected: np.ndarray) -> bool:
    """Whether a joint of a record is as expected, but for its two decimals."""
    return row is not None and np.allclose(np.array(row, dtype=float), expected, atol=0.011, equal_nan=True)


def check_joints(record: dict[str, Any], expected: np.ndarray) -> None:
    """Compare the joints of a record with uvz (J, 3), and with the closed form of xyz."""
    u, v, z = expected.T
    xyz = np.stack([(u - CAMERA.cx) * z / CAMERA.fx, (v - CAMERA.cy) * z / CAMERA.fy, z], axis=1)
    for name, of_image, of_camera, row, row_mm in zip(
        MSRA21.joints, expected, xyz, record["uvz"], record["xyz_mm"], strict=True
    ):
        assert (row is None) if np.isnan(of_image[0]) else is_close(row, of_image), (name, row, of_image)
        assert (row_mm is None) if np.isnan(of_image[2]) else is_close(row_mm, of_camera), (name, row_mm, of_camera)


@pytest.mark.slow
def test_changes_while_a_label_is_saved_are_not_lost(
    frames: list[Path], estimator: HandPoseEstimator, tmp_path: Path
) -> None:
    with labeling(tmp_path) as address, open_browser() as page:
        person = Person(page, address)
        person.wait(1)
        page.route("**/frames/0", lambda route: (time.sleep(0.5), route.continue_())[1])  # a slow disk
        depth = page.locator("#depth")
        before = float(depth.input_value())
        person.keys.press("Enter")
        person.keys.press("]")
        page.locator("#tally", has_text="1 accepted").wait_for()
        person.wait(1)  # the change is not accepted yet
        assert float(depth.input_value()) == pytest.approx(before + 1.0, abs=0.051)
        assert page.evaluate("frames[0].unsaved")
        person.keys.press("Enter")
        person.wait(2)
        assert not page.evaluate("frames[0].unsaved")
    joint = records_of(tmp_path / "labels.jsonl")[0]["uvz"][0]
    assert joint[2] == pytest.approx(before + 1.0, abs=0.051)


@pytest.mark.slow
def test_a_person_moves_joints(frames: list[Path], estimator: HandPoseEstimator, tmp_path: Path) -> None:
    """Records state what the camera model says about joints that were moved, and the prediction for all others."""
    depth, names = read_depth(frames[0]), MSRA21.joints
    pose = estimator.predict(frames[0], camera=CAMERA)
    expected, xyz = pose.uvz.copy(), pose.xyz
    with labeling(tmp_path) as address, open_browser(1400, 900) as page:
        person = Person(page, address)
        person.wait(1)
        person.keys.press("f")
        joint = names.index("middle_mcp")  # it lies behind the surface, and keeps its distance
        person.choose("middle_mcp")
        behind = expected[joint, 2] - surface(depth, expected[joint], pose)
        person.drag(person.position(expected[joint]), 12, -9)
        assert 0.0 < behind < 40.0
        expected[joint, :2] += np.array([12.0, -9.0]) / person.scale
        expected[joint, 2] = surface(depth, expected[joint], pose) + behind

        joint = names.index("ring_mcp")  # with a fixed depth, it is moved in the image alone
        person.choose("ring_mcp")
        person.keys.press("d")
        person.drag(person.position(expected[joint]), 8, 8)
        expected[joint, :2] += 8.0 / person.scale

        joint = names.index("pinky_mcp")  # in the side view, it is moved along its ray
        person.choose("pinky_mcp")
        x, y, width, height = person.box("#space")
        scale, ray = 0.78 * min(width, height) / np.ptp(xyz, axis=0).max(), xyz[joint] / xyz[joint, 2]
        _, down, away = scale * (xyz[joint] - (xyz.min(axis=0) + xyz.max(axis=0)) / 2)
        person.drag((x + width / 2 + away, y + height / 2 + down), 10, 0)
        expected[joint, 2] += 10.0 / scale / (1.0 + ray[1] ** 2)

        person.choose("wrist")  # keys and numbers change the depth alone
        for _ in range(3):
            person.keys.press("]")
        expected[names.index("wrist"), 2] += 3.0
        person.choose("index_mcp")
        page.get_by_label("Depth", exact=True).fill("543.5")
        person.keys.press("Enter")  # leaves the field
        expected[names.index("index_mcp"), 2] = 543.5
        person.choose("thumb_tip")
        person.keys.press("Shift+ArrowRight")
        person.keys.press("z")  # undone
        person.keys.press("u")
        expected[names.index("thumb_tip")] = np.nan
        person.choose("pinky_tip")
        page.get_by_role("button", name="No depth").click()
        expected[names.index("pinky_tip"), 2] = np.nan

        person.keys.press("Enter")
        person.wait(2)
        assert page.locator("#tally").inner_text() == "1 accepted"

    (record,) = records_of(tmp_path / "labels.jsonl")
    check_joints(record, expected)
    assert [row is None for row in record["uvz"]] == [name == "thumb_tip" for name in names]
    assert (record["hand"], record["labeled_by"], record["source"]) == ("right", "person", "frames/down.png")


@pytest.mark.slow
def test_a_finger_is_moved_and_a_label_is_copied(
    frames: list[Path], estimator: HandPoseEstimator, tmp_path: Path
) -> None:
    depth, names = read_depth(frames[0]), MSRA21.joints
    pose = estimator.predict(frames[0], camera=CAMERA)
    expected = pose.uvz.copy()
    with labeling(tmp_path) as address, open_browser() as page:
        person = Person(page, address)
        person.wait(1)
        person.keys.press("f")
        with_joints = page.locator("#image").screenshot()
        person.keys.down(" ")
        assert page.locator("#image").screenshot() != with_joints
        person.keys.up(" ")
        assert page.locator("#image").screenshot() == with_joints
        person.choose("ring_pip")
        person.keys.down("Shift")
        person.drag(person.position(expected[names.index("ring_pip")]), 4, 3)
        person.keys.up("Shift")
        person.keys.press("Enter")
        person.wait(2)
        person.keys.press("c")
        page.locator("#undo:enabled").wait_for()
        person.keys.press("Enter")
        person.wait(3)
        scale = person.scale
    for name in ("ring_pip", "ring_dip", "ring_tip"):
        joint = expected[names.index(name)]
        behind = joint[2] - surface(depth, joint, pose)
        assert -10.0 < behind < 40.0
        joint[:2] += np.array([4.0, 3.0]) / scale
        joint[2] = surface(depth, joint, pose) + behind
    first, second = records_of(tmp_path / "labels.jsonl")
    check_joints(first, expected)
    assert second["source"] == "frames/open.png"
    assert second["uvz"] == first["uvz"]


@pytest.mark.slow
def test_labels_survive_a_kill_and_are_a_data_set(
    frames: list[Path], estimator: HandPoseEstimator, tmp_path: Path
) -> None:
    """Accept, skip, kill, continue, switch the hand, and label a frame again; then evaluate the labels."""
    output = tmp_path / "labels.jsonl"
    with labeling(tmp_path, kill=True) as address, open_browser() as page:
        person = Person(page, address)
        person.wait(1)
        person.keys.press("s")
        person.wait(2)
        person.keys.press("Enter")
        person.wait(3)
    assert [record.get("status") for record in records_of(output)] == ["skipped", None]
    pose = estimator.predict(frames[1], camera=CAMERA)
    assert all(map(is_close, records_of(output)[1]["uvz"], pose.uvz))  # accepted as it was predicted
    code, report, log = run("evaluate", "--data", "records", "--root", output, "--json", "--quiet")
    assert (code, log) == (0, "")
    assert json.loads(report)["results"][0]["mean_mm"] < 0.05

    with labeling(tmp_path) as address, open_browser() as page:
        person = Person(page, address)
        person.wait(3)
        assert page.locator("#tally").inner_text() == "1 accepted, 1 skipped"
        page.get_by_role("button", name="Left").click()
        page.locator("#hands [data-hand=left][aria-pressed=true]").wait_for()
        page.get_by_text("looks like a right hand").wait_for()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InputWarning)
            left = estimator.predict(frames[2], camera=CAMERA, hand="left").uvz
        page.get_by_text(f"{left[0, 0]:.1f}, {left[0, 1]:.1f} px").wait_for()
        person.keys.press("Enter")
        page.get_by_text("All 3 frames are done.").wait_for()
        person.keys.press("ArrowLeft")
        person.wait(2)
        person.keys.press("s")
        page.get_by_text("Skip again to confirm").wait_for()
        person.choose("wrist")
        person.keys.press("[")
        page.evaluate(
            "() => { window.real = fetch; window.fetch = () => Promise.reject(new TypeError()); }"
        )  # no server
        person.keys.press("Enter")
        page.get_by_text("The server does not answer").wait_for()
        page.evaluate("() => { window.fetch = window.real; }")
        person.keys.press("Enter")
        page.get_by_text("All 3 frames are done.").wait_for()
    skipped, again, third = records_of(output)
    assert (skipped["source"], again["source"], third["source"]) == tuple(f"frames/{frame.name}" for frame in frames)
    assert is_close(again["uvz"][0], pose.uvz[0] - [0.0, 0.0, 1.0])
    assert all(map(is_close, again["uvz"][1:], pose.uvz[1:]))
    assert (third["hand"], all(map(is_close, third["uvz"], left))) == ("left", True)


@pytest.mark.slow
def test_the_right_one_of_two_hands_is_double_clicked(
    frames: list[Path], estimator: HandPoseEstimator, tmp_path: Path
) -> None:
    """Frames that are damaged or show no hand can only be skipped."""
    frames[0].write_bytes(b"not a PNG")
    hand, pose = read_depth(frames[1]), estimator.predict(frames[1], camera=CAMERA)
    png16(frames[1], np.full((480, 640), 1800.0))
    png16(frames[2], np.maximum(np.roll(hand, -160, axis=1), np.roll(hand, 200, axis=1)))
    chosen = estimator.predict(frames[2], camera=CAMERA).uvz[:, 0].mean() > 320
    other = pose.uvz[:, :2] + [-160.0 if chosen else 200.0, 0.0]
    with labeling(tmp_path) as address, open_browser() as page:
        person = Person(page, address)
        for text in ("down.png: ", "No hand was found. Double-click"):
            page.get_by_text(text).wait_for()
            assert page.locator("#accept").is_disabled()
            person.keys.press("s")
        person.wait(3)
        person.keys.press("f")
        page.mouse.dblclick(*person.position(other.mean(axis=0)))
        page.locator("#undo:enabled").wait_for()
        person.keys.press("Enter")
        page.get_by_text("All 3 frames are done.").wait_for()
    first, second, third = records_of(tmp_path / "labels.jsonl")
    assert (first["status"], second["status"]) == ("skipped", "skipped")
    assert np.linalg.norm(np.array(third["uvz"])[:, :2] - other, axis=1).mean() < 10.0


@pytest.mark.slow
def test_a_phone_labels_by_touch(frames: list[Path], estimator: HandPoseEstimator, tmp_path: Path) -> None:
    pose = estimator.predict(frames[0], camera=CAMERA)
    wrist = MSRA21.index("wrist")
    with labeling(tmp_path) as address, open_browser(390, 844) as page:
        person = Person(page, address)
        person.wait(1)
        assert page.evaluate("document.documentElement.scrollWidth") == 390  # no horizontal scrolling
        for name in ("Accept", "Skip", "Undo", "Help"):
            x, y, width, height = (page.get_by_role("button", name=name).bounding_box() or {}).values()
            assert min(x, y, width - 30, height - 30, 390 - x - width, 844 - y - height) >= 0, name
        page.get_by_role("button", name="Fit").click()
        x, y = map(round, person.position(pose.uvz[wrist]))
        fingers = page.context.new_cdp_session(page)
        for kind, points in (("touchStart", [(x, y)]), ("touchMove", [(x + 20, y)]), ("touchEnd", [])):
            touches = [{"x": left, "y": top} for left, top in points]
            fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})
        page.get_by_role("button", name="Accept").click()
        person.wait(2)
        scale = person.scale
    (record,) = records_of(tmp_path / "labels.jsonl")
    assert record["uvz"][wrist][:2] == pytest.approx(pose.uvz[wrist, :2] + [20.0 / scale, 0.0], abs=0.011)
