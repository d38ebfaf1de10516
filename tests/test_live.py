from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import EXAMPLES
from test_cli import run

from handpose.sources.recording import frames

STREAM = EXAMPLES / "hand.hpr"


def records(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_session_that_is_recorded_and_replayed_is_the_same(tmp_path: Path) -> None:
    """The recording holds what was processed, so its replay gives the same lines, character by character."""
    code, first, err = run("live", STREAM, "--frames", 8, "--record", tmp_path / "a.hpr")
    assert code == 0
    assert err.splitlines()[-1].startswith("frames 8  fps ")
    assert err.splitlines()[-1].endswith("dropped 0")
    assert [one["id"] for one in records(first)] == [0] * 8
    assert records(first)[0].keys() >= {"time_s", "xyz_mm", "velocity_mm_s", "status", "camera"}
    code, second, _ = run("live", tmp_path / "a.hpr")
    assert (code, second) == (0, first)
    for one, other in zip(frames(STREAM), frames(tmp_path / "a.hpr"), strict=False):
        assert np.array_equal(one.depth, other.depth)
    truth = np.array(json.loads((EXAMPLES / "hand.truth.json").read_text())["xyz_mm"])
    found = np.array([one["xyz_mm"] for one in records(first)])
    assert np.linalg.norm(found - truth[:8], axis=-1).mean() < 6.0


FAKE_CAMERA = """
import itertools, numpy as np, sys
from pathlib import Path
from handpose.sources.recording import frames
class S:
    def __init__(self, **k): self.__dict__.update(k)
taken = list(itertools.islice(frames({stream!r}), 6))
lens = S(fx=210.0, fy=210.0, ppx=111.5, ppy=85.5, width=224, height=172)
stream, format = S(depth=1), S(z16=1)
class config:
    def enable_stream(self, *a): pass
class pipeline:
    n = 0
    def start(self, config):
        if {lost} == 0: raise RuntimeError("No device connected")
        video = S(get_intrinsics=lambda: lens)
        return S(get_stream=lambda s: S(as_video_stream_profile=lambda: video))
    def wait_for_frames(self, ms):
        if self.n == {lost}: raise RuntimeError("Device disconnected")
        frame = taken[self.n]; self.n += 1
        depth = S(get_units=lambda: 0.001, get_data=lambda: frame.depth.astype(np.uint16),
                  get_timestamp=lambda: 1000 * frame.time)
        return S(get_depth_frame=lambda: depth)
    def stop(self): sys.stderr.write("stopped\\n")
"""


@pytest.mark.parametrize("lost", [4, 0])
def test_a_lost_camera_ends_cleanly_with_what_was_recorded(tmp_path: Path, lost: int) -> None:
    (tmp_path / "pyrealsense2.py").write_text(FAKE_CAMERA.format(stream=str(STREAM), lost=lost))
    arguments = ["live", "realsense", "--record", str(tmp_path / "a.hpr"), "-o", str(tmp_path / "a.jsonl")]
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "handpose", *arguments],
        capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": path},
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    if lost == 0:
        assert done.returncode == 2
        assert "no RealSense camera can be opened (No device connected); plug one" in done.stderr
        assert not (tmp_path / "a.hpr").exists()
        return
    assert done.returncode == 1
    assert "error: the RealSense camera was lost (Device disconnected)" in done.stderr
    assert "stopped" in done.stderr
    kept = list(frames(tmp_path / "a.hpr"))
    lines = records((tmp_path / "a.jsonl").read_text())
    assert 1 <= len(kept) <= 4  # the newest wins, so that fewer than came may have been worked on
    assert [one["time_s"] for one in lines] == [frame.time for frame in kept]
    code, again, _ = run("live", tmp_path / "a.hpr")
    assert (code, again) == (0, (tmp_path / "a.jsonl").read_text())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["kinect"], "no such source; expected realsense, orbbec, synthetic, a folder, or a recording"),
        ([EXAMPLES], "give it with --camera"),
        ([STREAM, "--record", STREAM, "--force"], "is the source"),
        ([STREAM, "-o", EXAMPLES / "camera.json"], "give --force to overwrite"),
        ([STREAM, "--unit", "cm"], "--unit mm|m|nyu|NUMBER"),
        ([STREAM, "--max-hands", "0"], "max-hands"),
    ],
)
def test_wrong_use_is_one_line_and_code_2(arguments: list[object], message: str) -> None:
    before = STREAM.read_bytes()
    code, out, err = run("live", *arguments)
    assert (code, out) == (2, "")
    assert message in " ".join(err.split())
    assert STREAM.read_bytes() == before


def test_rerun_gets_image_camera_skeleton_and_series(tmp_path: Path) -> None:
    pytest.importorskip("rerun")
    chunk = pytest.importorskip("rerun.chunk")
    from handpose import HandPoseEstimator, HandTracker
    from handpose.view import RerunViewer

    tracker = HandTracker(HandPoseEstimator.from_pretrained("msra", device="cpu"))
    viewer = RerunViewer(tmp_path / "a.rrd")
    frame = next(frames(STREAM))
    (hand,) = tracker.update(*frame[:3])
    viewer.show(frame, [hand])
    viewer.show(frame._replace(time=1.0), [])
    viewer.close()

    logged: dict[str, dict] = {}
    for part in chunk.RrdReader(tmp_path / "a.rrd").stream():
        columns = part.to_record_batch().to_pydict()
        for name, values in columns.items():
            logged.setdefault(part.entity_path, {}).setdefault(name, []).extend(values)
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
