from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from io import FileIO
from pathlib import Path

import cv2
import numpy as np
import pytest

from handpose import Camera, Recorder
from handpose.cli.main import main
from handpose.io.resumable import lock_output
from tests.helpers.paths import EXAMPLES
from tests.helpers.recordings import SoftwareCamera, frames, plug, send_when_started

STREAM = EXAMPLES / "hand.hpr"

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Run:
    """Runs `handpose` in this process: (exit code, stdout, stderr)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["handpose", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return (ended.value.code or 0, *capsys.readouterr())

    return run


def records(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_replaying_a_recorded_session_reproduces_its_output(tmp_path: Path, run: Run) -> None:
    """A recording contains the processed frames, so its replay prints the same lines, except for the source."""
    code, first, err = run("live", STREAM, "--frames", 8, "--record", tmp_path / "a.mcap")
    assert code == 0
    assert err.splitlines()[-1].startswith("frames 8  hands 8  fps ")
    assert err.splitlines()[-1].endswith("dropped 0")
    assert [one["id"] for one in records(first)] == [0] * 8
    assert records(first)[0].keys() >= {"time_s", "xyz_mm", "velocity_mm_s", "status", "camera"}
    code, second, _ = run("live", tmp_path / "a.mcap")
    assert code == 0
    for i, (one, again) in enumerate(zip(records(first), records(second), strict=True)):
        assert (one.pop("source"), again.pop("source")) == (f"{STREAM}#{i}", f"{tmp_path / 'a.mcap'}#{i}")
        assert one == again
    for one, other in zip(frames(STREAM), frames(tmp_path / "a.mcap"), strict=False):
        assert np.array_equal(one.depth, other.depth)
    truth = np.array(json.loads((EXAMPLES / "hand.truth.json").read_text())["xyz_mm"])
    predicted = np.array([one["xyz_mm"] for one in records(first)])
    assert np.linalg.norm(predicted - truth[:8], axis=-1).mean() < 6.0


def test_a_bad_frame_is_skipped_and_a_repeated_warning_is_printed_once(tmp_path: Path, run: Run) -> None:
    for number, frame in enumerate(itertools.islice(frames(STREAM), 4)):
        stored = frame.depth * 16  # as if its unit were 1/16 mm
        cv2.imwrite(str(tmp_path / f"{number}.png"), stored.astype(np.uint8 if number == 2 else np.uint16))
    camera = "210,210,111.5,85.5,224,172"
    code, out, err = run("live", tmp_path, "-c", camera, "--unit", 1 / 16)
    assert (code, [one["time_s"] for one in records(out)]) == (1, [0.0, 1 / 30, 3 / 30])
    assert {one["unit"] for one in records(out)} == {1 / 16}  # that of the files; the joints are in mm
    assert [line.split(": ")[:2] for line in err.splitlines()[:-1]] == [
        ["warning", f"skipped {tmp_path / '2.png'}"],
    ]
    (tmp_path / "2.png").unlink()
    code, out, err = run("live", tmp_path, "-c", camera)
    assert (code, out) == (0, "")
    assert err.count("too near or far for a hand") == 1


def test_frames_far_apart_are_no_reason_to_doubt_their_times(tmp_path: Path, run: Run) -> None:
    for number, frame in enumerate(itertools.islice(frames(STREAM), 5)):
        np.save(tmp_path / f"{number}.npy", frame.depth)
    code, out, err = run("live", tmp_path, "-c", "210,210,111.5,85.5,224,172", "--fps", 0.1)
    assert (code, [one["time_s"] for one in records(out)]) == (0, [0.0, 10.0, 20.0, 30.0, 40.0])
    assert "warning" not in err


@pytest.mark.parametrize("unit", [0.25, 2.5])
def test_a_wrong_unit_is_corrected_by_that_of_the_stored_values(tmp_path: Path, run: Run, unit: float) -> None:
    shutil.copy(EXAMPLES / "open.png", tmp_path)  # in mm
    code, _, err = run("live", tmp_path, "-c", EXAMPLES / "camera.json", "--unit", unit, "--hand", "right")
    assert code == 0
    (hint,) = (line for line in err.splitlines() if "would be found" in line)
    assert f"read as {unit}, but a hand would be found with unit mm; check the unit" in hint


def test_records_state_that_the_camera_of_a_folder_is_assumed(tmp_path: Path, run: Run) -> None:
    np.save(tmp_path / "0.npy", next(frames(STREAM)).depth)
    code, out, err = run("live", tmp_path)
    assert code == 0
    assert [warning["code"] for warning in records(out)[0]["warnings"]] == ["camera_assumed"]
    _, single, _ = run("predict", tmp_path / "0.npy")
    assert records(out)[0]["warnings"] == records(single)[0]["warnings"]
    assert err.count("warning: ") == err.count("no camera given") == 1


@pytest.mark.parametrize(
    ("images", "times", "kept", "problem"),
    [
        ((0, 1, 1, 2), (5.0, 5.1, 5.1, 5.2), (5.0, 5.1, 5.2), ""),
        ((0, 1, 2, 3), (5.0, 5.1, 2.0, 2.1), (5.0, 5.1), "its time is before that of an earlier one"),
        ((0, 1, 2, 3), (0.0, 0.0, 0.0, 0.0), (0.0,), "another frame has the same time"),
    ],
    ids=["a repeated frame", "a clock that is set back", "a clock that does not run"],
)
def test_frames_that_are_not_after_the_previous_one_are_skipped_with_a_warning(
    tmp_path: Path,
    run: Run,
    images: tuple[int, ...],
    times: tuple[float, ...],
    kept: tuple[float, ...],
    problem: str,
) -> None:
    stream = [*itertools.islice(frames(STREAM), 4)]
    with contextlib.closing(Recorder(tmp_path / "a.mcap")) as recorder:
        for image, seconds in zip(images, times, strict=True):
            recorder.write(stream[image]._replace(time=seconds))
    code, out, err = run("live", tmp_path / "a.mcap")
    assert (code, [one["time_s"] for one in records(out)]) == (int(bool(problem)), [*kept])
    warned = [line for line in err.splitlines() if line.startswith("warning: ")]
    assert warned == ([f"warning: skipped a frame: {problem}"] * (4 - len(kept)) if problem else [])


def test_hands_are_sent_by_udp_and_written_to_mcap(tmp_path: Path, run: Run) -> None:
    reader = pytest.importorskip("mcap.reader")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(10)
        address = f"127.0.0.1:{receiver.getsockname()[1]}"
        code, out, _ = run("live", STREAM, "--frames", 4, "--udp", address, "--mcap", tmp_path / "a.mcap")
        assert code == 0
        assert "".join(receiver.recv(65536).decode() for _ in range(4)) == out
    with (tmp_path / "a.mcap").open("rb") as file:
        times = [one[2].log_time for one in reader.make_reader(file).iter_messages(topics=["/hand_0"])]
    assert times == [round(record["time_s"] * 1e9) for record in records(out)]


def test_hands_reach_a_receiver_on_ipv4_if_the_name_also_stands_for_ipv6(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `localhost` does on many machines."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(10)
        port = receiver.getsockname()[1]
        found = [
            (socket.AF_INET6, socket.SOCK_DGRAM, 17, "", ("::1", port, 0, 0)),
            (socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("127.0.0.1", port)),
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        code, out, _ = run("live", STREAM, "--frames", 1, "--udp", f"localhost:{port}")
        assert (code, receiver.recv(65536).decode()) == (0, out)


def test_frames_before_a_lost_camera_are_kept(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    rs = pytest.importorskip("pyrealsense2")
    images = [frame.depth.astype(np.uint16) for frame in itertools.islice(frames(STREAM), 4)]
    software = SoftwareCamera(rs, unit=1.0, camera=Camera(210.0, 210.0, 111.5, 85.5, 224, 172))
    send_when_started(software, plug(monkeypatch, rs, software), images)
    code, out, err = run(
        "live", "realsense", "--size", "224x172", "--record", tmp_path / "a.mcap", "-o", tmp_path / "a.jsonl"
    )
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == "error: the RealSense camera was lost (Frame did not arrive in time!)"
    kept = list(frames(tmp_path / "a.mcap"))
    lines = records((tmp_path / "a.jsonl").read_text())
    assert 1 <= len(kept) <= 4  # older frames may have been dropped
    assert [one["time_s"] for one in lines] == [frame.time for frame in kept]
    code, replayed, _ = run("live", tmp_path / "a.mcap")
    assert code == 0
    assert [{**one, "source": "realsense"} for one in records(replayed)] == lines


def test_a_full_disk_is_one_line_and_keeps_the_lines_before(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete = run("live", STREAM, "--frames", 4)[1].splitlines(keepends=True)
    room = len("".join(complete[:2])) + 100
    write, out = FileIO.write, tmp_path / "a.jsonl"

    class SmallDisk(FileIO):
        def write(self, data: memoryview) -> int:
            if self.tell() == room:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(self, data[: room - self.tell()])

    monkeypatch.setattr("handpose.cli.live_outputs.FileIO", SmallDisk)
    code, _, err = run("live", STREAM, "--frames", 4, "-o", out)
    assert code == 2
    assert err.splitlines()[-1] == f"error: {out}: cannot be written ([Errno 28] No space left on device)"
    assert out.read_text() == "".join(complete[:2])


@pytest.mark.parametrize("option", ["-o", "--record", "--mcap"])
def test_a_file_that_another_session_is_writing_is_rejected_and_unchanged(
    tmp_path: Path, run: Run, option: str
) -> None:
    file = tmp_path / ("a.jsonl" if option == "-o" else "a.mcap")
    file.write_text("written by the other session")
    with lock_output(file):
        code, out, err = run("live", STREAM, "--frames", 1, option, file, "--force")
    assert (code, out) == (2, "")
    assert err == f"error: {file}: another process is writing to this file; wait for it or stop it\n"
    assert file.read_text() == "written by the other session"
    assert run("live", STREAM, "--frames", 1, option, file, "--force")[0] == 0


@pytest.mark.filterwarnings("ignore:.*was not recorded or copied completely")
def test_a_killed_session_keeps_the_lines_of_its_frames(tmp_path: Path) -> None:
    """Every frame is in the recording before its line is written."""
    out, recorded = tmp_path / "a.jsonl", tmp_path / "a.mcap"
    words = ["live", str(STREAM), "--real-time", "-o", str(out), "--record", str(recorded)]
    live = subprocess.Popen([sys.executable, "-m", "handpose", *words], stderr=subprocess.DEVNULL)
    while not (recorded.exists() and len(list(frames(recorded))) >= 2):
        assert live.poll() is None
        time.sleep(0.02)
    live.kill()
    live.wait()
    kept = [frame.time for frame in frames(recorded)]
    assert [one["time_s"] for one in records(out.read_text())] in (kept, kept[:-1])


def test_a_service_that_is_stopped_completes_its_files(tmp_path: Path) -> None:
    """A reader of another program rejects files that end without their index."""
    reader = pytest.importorskip("mcap.reader")
    recorded, hands = tmp_path / "a.mcap", tmp_path / "hands.mcap"
    words = ["live", str(STREAM), "--real-time", "--record", str(recorded), "--mcap", str(hands)]
    live = subprocess.Popen([sys.executable, "-m", "handpose", *words], stdout=subprocess.PIPE, text=True)
    assert live.stdout is not None
    lines = live.stdout.readline() + live.stdout.readline()
    live.send_signal(signal.SIGTERM)
    lines += live.communicate(timeout=60)[0]
    assert live.returncode == 128 + signal.SIGTERM
    times = [one["time_s"] for one in records(lines)]
    for path, topic in ((recorded, "/camera/depth/camera_info"), (hands, "/hand_0")):
        with path.open("rb") as file:
            stored = [one[2].log_time / 1e9 for one in reader.make_reader(file).iter_messages(topics=[topic])]
        assert len(stored) >= len(times) - 1  # the last line may be that of the interrupted frame
        assert stored[: len(times)] == pytest.approx(times[: len(stored)])


def test_without_a_camera_nothing_is_written(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    plug(monkeypatch, pytest.importorskip("pyrealsense2"))
    code, out, err = run("live", "realsense", "--record", tmp_path / "a.mcap")
    assert (code, out) == (2, "")
    assert "no RealSense camera is connected; connect one" in err
    assert not (tmp_path / "a.mcap").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["kinect"], "no such source; expected realsense, orbbec, synthetic, a folder, or a recording"),
        ([STREAM, "--record", STREAM, "--force"], "is the source"),
        ([STREAM, "--record", "a.mcap", "--mcap", "./a.mcap"], "a.mcap: cannot be the file of two outputs"),
        ([STREAM, "-o", EXAMPLES / "camera.json"], "pass --force to overwrite"),
        ([STREAM, "-o", "no/such/file"], "cannot be written"),
        ([STREAM, "--fps", 10], "a recording contains the times of its frames; omit"),
        ([STREAM, "--unit", "cm"], "unit must be mm, m, nyu"),
        ([STREAM, "--max-hands", "0"], "max-hands"),
        ([STREAM, "--size", "848"], "expected --size WxH"),
        ([STREAM, "--udp", "9999"], "expected HOST:PORT"),
        ([STREAM, "--udp", "192.168..5:9999"], "192.168..5:9999: cannot be reached"),
        ([""], "an input is empty; expected a file, a folder or a glob"),
        ([STREAM, "--mcap", "no/such/file"], "cannot be written"),
        ([STREAM, "-o", "-"], "results are written to stdout by default; omit -o"),
        ([STREAM, "-o", "hands.mcap"], "hands.mcap: -o writes JSON lines"),
        ([STREAM, "--record", "a.hpr"], "use a name that ends with .mcap"),
    ],
)
def test_usage_errors_are_one_line_and_exit_code_2(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, arguments: list[object], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    before = STREAM.read_bytes()
    code, out, err = run("live", *arguments)
    assert (code, out) == (2, "")
    assert message in " ".join(err.split())
    assert STREAM.read_bytes() == before


def test_a_recording_without_a_complete_frame_is_an_error(run: Run, tmp_path: Path) -> None:
    (tmp_path / "truncated.hpr").write_bytes(STREAM.read_bytes()[:1000])
    code, out, err = run("live", tmp_path / "truncated.hpr")
    assert (code, out) == (2, "")
    assert "no complete frame was received" in err


def test_a_broken_pipe_ends_quietly_with_status_141() -> None:
    live = subprocess.Popen(
        [sys.executable, "-m", "handpose", "live", str(STREAM)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert live.stdout is not None
    assert json.loads(live.stdout.readline())["id"] == 0
    live.stdout.close()
    assert live.wait(60) == 141
    assert live.stderr is not None
    assert "Traceback" not in live.stderr.read()
    live.stderr.close()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems always have a display")
def test_the_viewer_requires_a_display(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rerun")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    code, _, err = run("live", STREAM, "--view")
    assert code == 2
    assert "Rerun requires a display, but none is available" in err


@pytest.mark.filterwarnings("ignore:RRD file has no footer")  # as the viewer of Rerun writes it
def test_view_writes_a_file_or_sends_to_a_viewer_that_is_running(tmp_path: Path, run: Run) -> None:
    chunk = pytest.importorskip("rerun.chunk")
    code, out, _ = run("live", STREAM, "--frames", 2, "--view", tmp_path / "a.rrd")
    assert code == 0
    assert len(records(out)) == 2
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    rerun = Path(sys.executable).with_name("rerun")
    command = [rerun, "--serve-grpc", "--bind", "127.0.0.1", "--port", str(port), "--save", tmp_path / "b.rrd"]
    viewer = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_for_port(port)
        code, same, _ = run("live", STREAM, "--frames", 2, "--view", f"rerun+http://127.0.0.1:{port}/proxy")
        assert (code, same) == (0, out)
        time.sleep(1.0)  # until the viewer has written what it received
    finally:
        os.killpg(viewer.pid, signal.SIGTERM)  # the command is a script that starts the program
        viewer.wait(10)
    for name in ("a.rrd", "b.rrd"):
        assert "/hand/0/joints" in {part.entity_path for part in chunk.RrdReader(tmp_path / name).stream()}
    code, _, err = run("live", STREAM, "--view", tmp_path / "a.rrd")
    assert (code, "already exists" in err) == (2, True)


def wait_for_port(port: int) -> None:
    for _ in range(100):
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("the viewer does not listen")


def test_rerun_receives_image_camera_skeleton_and_time_series(tmp_path: Path) -> None:
    pytest.importorskip("rerun")
    chunk = pytest.importorskip("rerun.chunk")
    from handpose import HandPoseEstimator, HandTracker
    from handpose.live.rerun_viewer import RerunViewer

    tracker = HandTracker(HandPoseEstimator.from_pretrained("msra", device="cpu"))
    viewer = RerunViewer(tmp_path / "a.rrd")
    frame = next(frames(STREAM))
    (hand,) = tracker.update(*frame[:3])
    viewer.show(frame, [hand])
    viewer.show(frame._replace(time=1.0), [])
    viewer.close()

    logged: dict[str, dict] = {}
    for part in chunk.RrdReader(tmp_path / "a.rrd").stream():
        batch = part.to_record_batch()
        for name in (name for name in batch.schema.names if ":" in name):
            logged.setdefault(part.entity_path, {}).setdefault(name, []).extend(batch[name].to_pylist())
    joints = np.array(logged["/hand/0/joints"]["Points3D:positions"][0])
    assert np.allclose(joints * 1000.0, hand.pose.xyz, atol=0.01)
    assert logged["/hand/0/joints"]["Points3D:labels"][0] == list(hand.pose.layout.joints)
    assert len(logged["/hand/0/bones"]["LineStrips3D:strips"][0]) == 20
    surface = np.array(logged["/hand/0/surface"]["Points3D:positions"][0])
    assert len(surface) > 1000
    assert (np.abs(surface * 1000.0 - hand.pose.center) <= 125.01).all()
    assert logged["/camera"]["Pinhole:resolution"][0] == [[224.0, 172.0]]
    assert logged["/camera/depth"]["DepthImage:meter"][0] == [1000.0]
    stored = np.array(logged["/camera/depth"]["DepthImage:buffer"][0][0], np.uint8).tobytes()
    assert stored == frame.depth.tobytes()
    assert logged["/hand/0"]["Clear:is_recursive"] == [[True]]
    assert set(logged) >= {"/speed_mm_s/0", "/spread_mm/0"}
