"""Sources, tested with simulated devices that follow the manufacturers' documentation."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import typer

from handpose import AssumedCameraWarning, Camera, HandPoseError, SkippedFrameWarning
from handpose.cli.cameras import cameras
from handpose.errors import SourceLostError
from handpose.live.pacing import Arrival, all_frames, in_real_time, newest_frame
from handpose.live.sources.catalog import list_cameras, open_source
from handpose.live.statistics import Statistics
from handpose.recordings.frame import DepthFrame, Source
from tests.helpers.paths import EXAMPLES

STORED = np.random.default_rng(0).integers(0, 9000, (480, 640), dtype=np.uint16)
NO_LENS = dict.fromkeys(("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2"), 0.0)
LENS = {"fx": 475.5, "fy": 476.5, "width": 640, "height": 480}


class FakeOrbbec(SimpleNamespace):
    """pyorbbecsdk: a frameset without depth first, frames of 0.8 mm, then None, which means a timeout."""

    class OBError(Exception):
        pass

    def __init__(self, *, plugged: bool, count: int) -> None:
        super().__init__(stopped=False)
        fake = self
        profile = SimpleNamespace(
            get_intrinsic=lambda: SimpleNamespace(cx=320.5, cy=239.5, **LENS),
            get_distortion=lambda: SimpleNamespace(model="OBCameraDistortionModel.NONE", **NO_LENS),
        )

        def frame(number: int) -> SimpleNamespace:
            return SimpleNamespace(
                get_depth_scale=lambda: float(np.float32(0.8)),
                get_data=lambda: STORED.reshape(-1).view(np.uint8),
                get_timestamp_us=lambda: 1_000_000 + number * 33_000,
                get_width=lambda: 640,
                get_height=lambda: 480,
            )

        waiting = iter(
            [SimpleNamespace(get_depth_frame=lambda: None)]
            + [SimpleNamespace(get_depth_frame=lambda n=n: frame(n)) for n in range(count)]
        )

        class Pipeline:
            def __init__(self) -> None:
                if not plugged:
                    raise RuntimeError("No device found")

            def get_stream_profile_list(self, sensor: str) -> SimpleNamespace:
                return {"depth": SimpleNamespace(get_default_video_stream_profile=lambda: profile)}[sensor]

            def start(self, config: SimpleNamespace) -> None:
                assert config.enabled == [profile]

            def wait_for_frames(self, timeout_ms: int) -> SimpleNamespace | None:
                return next(waiting, None)

            def stop(self) -> None:
                fake.stopped = True

        enabled: list = []
        self.Pipeline = Pipeline
        self.Config = lambda: SimpleNamespace(enable_stream=enabled.append, enabled=enabled)
        self.OBSensorType = SimpleNamespace(DEPTH_SENSOR="depth")


DEVICES = [
    ("orbbec", "pyorbbecsdk", "pyorbbecsdk2", FakeOrbbec, 0.8),
]


@pytest.mark.parametrize(("name", "module", "package", "fake", "unit"), DEVICES)
def test_cameras_yield_depth_in_mm_intrinsics_and_times_until_they_are_lost(
    monkeypatch: pytest.MonkeyPatch, name: str, module: str, package: str, fake: type, unit: float
) -> None:
    sdk = fake(plugged=True, count=3)
    monkeypatch.setitem(sys.modules, module, sdk)
    source = open_source(name)
    frames = [next(source) for _ in range(3)]
    for number, frame in enumerate(frames):
        assert frame.depth.dtype == np.float32
        assert np.allclose(frame.depth, STORED * unit)
        assert frame.camera == Camera(475.5, 476.5, 320.5, 239.5, 640, 480)
        assert frame.time == pytest.approx(1.0 + 0.033 * number)
        assert frame.unit == unit
    assert not sdk.stopped
    with pytest.raises(SourceLostError, match="camera was lost"):
        next(source)
    assert sdk.stopped


@pytest.mark.parametrize(("name", "module", "package", "fake", "unit"), DEVICES)
def test_closing_the_frames_releases_the_camera(
    monkeypatch: pytest.MonkeyPatch, name: str, module: str, package: str, fake: type, unit: float
) -> None:
    sdk = fake(plugged=True, count=1000)
    monkeypatch.setitem(sys.modules, module, sdk)
    arrivals = newest_frame(open_source(name))
    next(arrivals)
    arrivals.close()
    assert sdk.stopped


@pytest.mark.parametrize(("name", "module", "package", "fake", "unit"), DEVICES)
def test_errors_state_what_to_install_or_connect(
    monkeypatch: pytest.MonkeyPatch, name: str, module: str, package: str, fake: type, unit: float, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, module, fake(plugged=False, count=0))
    with pytest.raises(HandPoseError, match=r"\(No device \w+\); connect one to a USB 3 port"):
        next(open_source(name))
    monkeypatch.delitem(sys.modules, module)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / f"{module}.py").write_text("raise ImportError('libusb-1.0.so.0: cannot open shared object file')")
    with pytest.raises(HandPoseError, match=rf"{package} is installed but cannot be imported \(libusb"):
        next(open_source(name))
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(HandPoseError, match=f"pip install {package}$"):
        next(open_source(name))


def fail(*_: object) -> None:
    raise RuntimeError("failed to open usb interface: access denied")


def test_errors_of_an_sdk_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a permission for the device, any call of an SDK may raise an error."""
    monkeypatch.setitem(sys.modules, "pyrealsense2", SimpleNamespace(context=fail))
    sdk = FakeOrbbec(plugged=True, count=1)
    sdk.Context = fail
    monkeypatch.setitem(sys.modules, "pyorbbecsdk", sdk)
    for name in ("realsense", "orbbec:1"):
        with pytest.raises(HandPoseError, match=r"opened \(failed to open usb interface: access denied\); connect one"):
            next(open_source(name))
    found, problems = list_cameras()
    assert not found
    assert [problem.partition(" (")[0] for problem in problems] == [
        "the RealSense camera cannot be opened",
        "no Orbbec camera can be opened",
    ]


def test_a_lost_camera_that_cannot_be_stopped_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    sdk = FakeOrbbec(plugged=True, count=1)
    monkeypatch.setattr(sdk.Pipeline, "stop", fail)
    monkeypatch.setitem(sys.modules, "pyorbbecsdk", sdk)
    source = open_source("orbbec")
    next(source)
    with pytest.raises(SourceLostError, match="the Orbbec camera was lost"):
        next(source)


def test_a_search_for_cameras_without_their_packages_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyorbbecsdk", None)
    monkeypatch.setitem(sys.modules, "pyrealsense2", None)
    with pytest.raises(HandPoseError, match=r"could not search for cameras: .* pyrealsense2; .* pyorbbecsdk2$"):
        cameras()
    empty = SimpleNamespace(query_devices=lambda: SimpleNamespace(get_count=lambda: 0))
    monkeypatch.setitem(sys.modules, "pyorbbecsdk", SimpleNamespace(Context=lambda: empty))
    with pytest.raises(typer.Exit) as nothing_found:
        cameras()
    assert nothing_found.value.exit_code == 1


def test_output_of_a_package_on_import_does_not_reach_stdout(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "pyorbbecsdk.py").write_text("import os\nos.write(1, b'hello')\nraise ImportError('x')")
    with pytest.raises(HandPoseError):
        next(open_source("orbbec"))
    assert capfd.readouterr() == ("", "hello")


def test_a_folder_is_sorted_by_the_numbers_in_its_names(tmp_path: Path) -> None:
    for number in (10, 9, 100):
        cv2.imwrite(str(tmp_path / f"frame{number}.png"), np.full((48, 64), 400 * 8 + number, np.uint16))
    camera = Camera(60.0, 60.0, 31.5, 23.5, 64, 48)
    frames = list(open_source(str(tmp_path), camera=camera, unit=0.125, fps=25.0))
    assert [frame.depth[0, 0] for frame in frames] == [400.0 + number / 8 for number in (9, 10, 100)]
    assert [frame.time for frame in frames] == [0.0, 0.04, 0.08]
    assert {(frame.camera, frame.unit) for frame in frames} == {(camera, 0.125)}


def test_the_camera_of_a_folder_is_assumed_with_a_warning_as_in_single_images(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((48, 64), 400, np.uint16))
    with pytest.warns(AssumedCameraWarning, match="a field of view of 67 degrees for this 64 x 48 image"):
        (frame,) = open_source(str(tmp_path))
    assert 2 * np.degrees(np.arctan(32 / frame.camera.fx)) == pytest.approx(67)
    assert (frame.camera.cx, frame.camera.cy, frame.camera.width, frame.camera.height) == (31.5, 23.5, 64, 48)


def test_invalid_sources_are_rejected(tmp_path: Path) -> None:
    camera = Camera.parse("msra")
    with pytest.raises(HandPoseError, match=r"kinect: no such source; expected realsense, orbbec, synthetic"):
        open_source("kinect")
    with pytest.raises(HandPoseError, match="no depth files"):
        next(open_source(str(tmp_path), camera=camera))
    with pytest.raises(HandPoseError, match="the frame rate must be above 0, got 0"):
        open_source(str(tmp_path), camera=camera, fps=0)
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(HandPoseError, match="is an image, not a stream; use handpose predict"):
        next(open_source(str(EXAMPLES / "open.png")))


def test_bad_files_of_a_folder_are_skipped_with_a_warning_that_names_them(tmp_path: Path) -> None:
    for number in range(4):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((48, 64), 400 + number, np.uint16))
    cv2.imwrite(str(tmp_path / "1.png"), np.full((48, 64), 100, np.uint8))
    cv2.imwrite(str(tmp_path / "2.png"), np.full((48, 65), 402, np.uint16))
    source = open_source(str(tmp_path), camera=Camera(60.0, 60.0, 31.5, 23.5, 64, 48), fps=10.0)
    with pytest.warns(SkippedFrameWarning) as skipped:
        frames = list(source)
    assert [(frame.depth[0, 0], frame.time) for frame in frames] == [(400.0, 0.0), (403.0, 0.3)]
    assert [str(warning.message).split(": ")[0] for warning in skipped] == [
        f"skipped {tmp_path / name}" for name in ("1.png", "2.png")
    ]


FRAMES = [DepthFrame(STORED, Camera.parse("nyu"), float(number)) for number in range(25)]


class Seconds:
    """A clock that only the test advances."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def test_newest_frame_drops_older_frames() -> None:
    """Two frames arrive while the caller processes one, so every other frame is dropped."""
    clock, requests, stored = Seconds(), threading.Semaphore(0), threading.Semaphore(0)

    def camera() -> Source:
        for frame in FRAMES[:7]:
            assert requests.acquire(timeout=60)
            yield frame
            stored.release()  # the reader asks for the next frame, so it has stored this one

    arrivals, statistics = newest_frame(camera(), clock=clock), Statistics(clock)
    requests.release()
    processed = [next(arrivals)]
    assert stored.acquire(timeout=60)
    statistics.add(processed[0], 1)
    for _ in range(3):
        for _ in range(2):
            clock.now += 1.0
            requests.release()
            assert stored.acquire(timeout=60)
        clock.now += 0.25
        processed.append(next(arrivals))
        statistics.add(processed[-1], 2)
    assert next(arrivals, None) is None
    assert [arrival.frame.time for arrival in processed] == [0.0, 2.0, 4.0, 6.0]
    assert [arrival.dropped for arrival in processed] == [0, 1, 2, 3]
    assert [arrival.at for arrival in processed] == [0.0, 2.0, 4.25, 6.5]
    assert statistics.row() == {
        **{"frames": 4, "hands": 7, "fps": 0.6, "dropped": 3},
        **{"latency_p50_ms": 250.0, "latency_p95_ms": 250.0},
    }


def test_statistics_of_a_long_session_have_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handpose.live.statistics._MAX_LATENCIES", 3)
    now = [0.0]
    statistics = Statistics(lambda: now[0])
    now[0] = 10.0
    for seconds in (9.0, 1.0, 2.0, 3.0):
        statistics.add(Arrival(FRAMES[0], 10.0 - seconds, 0), 2)
    row = statistics.row()
    assert (row["frames"], row["hands"], row["latency_p50_ms"]) == (4, 8, 2000.0)


def test_only_a_generator_can_be_read_in_a_thread() -> None:
    """Others cannot be closed, so their thread would never end."""
    with pytest.raises(HandPoseError, match="source must be a generator of frames"):
        next(newest_frame(iter(FRAMES)))


def test_all_frames_drops_none() -> None:
    arrivals = list(all_frames((frame for frame in FRAMES), clock=Seconds(3.0)))
    assert [(arrival.frame.time, arrival.at, arrival.dropped) for arrival in arrivals] == [
        (number, 3.0, 0) for number in range(25)
    ]


def test_a_lost_camera_is_reported_after_its_last_frame() -> None:
    closed: list[bool] = []

    def camera() -> Source:
        try:
            yield FRAMES[0]
            raise SourceLostError("the camera was lost")
        finally:
            closed.append(True)

    arrivals, times = newest_frame(camera()), []
    with pytest.raises(SourceLostError):
        times.extend(arrival.frame.time for arrival in arrivals)
    assert times == [0.0]
    assert closed == [True]


def test_in_real_time_waits_until_each_frame_is_due() -> None:
    """The second frame was captured after 1 s, and processing the first one takes 0.25 s."""
    clock, pauses = Seconds(100.0), []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        clock.now += seconds

    for _ in in_real_time((frame for frame in FRAMES[3:6]), clock=clock, sleep=sleep):
        clock.now += 0.25 if len(pauses) == 1 else 2.0
    assert pauses == [0.0, 0.75, 0.0]
