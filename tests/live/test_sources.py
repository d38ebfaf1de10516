"""Sources against stand-ins that behave as the makers' packages document; no camera was at hand."""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from handpose import Camera, HandPoseError
from handpose.errors import DepthReadError, SourceLostError
from handpose.live.frame import DepthFrame, Source
from handpose.live.pacing import at_own_speed, every_frame, newest_frame
from handpose.live.sources.catalog import open_source
from handpose.live.statistics import Statistics
from tests.helpers.paths import EXAMPLES

STORED = np.random.default_rng(0).integers(0, 9000, (480, 640), dtype=np.uint16)
LENS = {"fx": 475.5, "fy": 476.5, "width": 640, "height": 480}


class FakeRealSense(SimpleNamespace):
    """pyrealsense2: frames of 0.125 mm, then the RuntimeError that a missing frame is."""

    def __init__(self, *, plugged: bool, count: int) -> None:
        super().__init__(stopped=False)
        fake = self

        def frame(number: int) -> SimpleNamespace:
            return SimpleNamespace(
                get_depth_frame=lambda: SimpleNamespace(
                    get_units=lambda: float(np.float32(0.000125)),
                    get_data=lambda: STORED,
                    get_timestamp=lambda: 1000.0 + number * 33.0,
                )
            )

        class Pipeline:
            def start(self, config: list) -> SimpleNamespace:
                if not plugged:
                    raise RuntimeError("No device connected")
                assert config.added == [("depth", 640, 480, "z16", 30)]
                video = SimpleNamespace(get_intrinsics=lambda: SimpleNamespace(ppx=320.5, ppy=239.5, **LENS))
                stream = SimpleNamespace(as_video_stream_profile=lambda: video)
                return SimpleNamespace(get_stream=lambda kind: {"depth": stream}[kind])

            def wait_for_frames(self, timeout_ms: int) -> SimpleNamespace:
                if (number := next(numbers)) >= count:
                    raise RuntimeError(f"Frame didn't arrive within {timeout_ms}")
                return frame(number)

            def stop(self) -> None:
                fake.stopped = True

        numbers = itertools.count()
        config: list = []
        self.pipeline = Pipeline
        self.config = lambda: SimpleNamespace(enable_stream=lambda *a: config.append(a), added=config)
        self.stream, self.format = SimpleNamespace(depth="depth"), SimpleNamespace(z16="z16")


class FakeOrbbec(SimpleNamespace):
    """pyorbbecsdk: a frameset without depth first, frames of 0.8 mm, then None as after a timeout."""

    class OBError(Exception):
        pass

    def __init__(self, *, plugged: bool, count: int) -> None:
        super().__init__(stopped=False)
        fake = self
        profile = SimpleNamespace(get_intrinsic=lambda: SimpleNamespace(cx=320.5, cy=239.5, **LENS))

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


MAKERS = [
    ("realsense", "pyrealsense2", "pyrealsense2", FakeRealSense, 0.125),
    ("orbbec", "pyorbbecsdk", "pyorbbecsdk2", FakeOrbbec, 0.8),
]


@pytest.mark.parametrize(("name", "module", "package", "fake", "unit"), MAKERS)
def test_a_camera_gives_millimetres_its_lens_and_times_until_it_is_lost(
    monkeypatch: pytest.MonkeyPatch, name: str, module: str, package: str, fake: type, unit: float
) -> None:
    sdk = fake(plugged=True, count=3)
    monkeypatch.setitem(sys.modules, module, sdk)
    source = open_source(name)
    taken = [next(source) for _ in range(3)]
    for number, frame in enumerate(taken):
        assert frame.depth.dtype == np.float32
        assert np.allclose(frame.depth, STORED * unit)
        assert frame.camera == Camera(475.5, 476.5, 320.5, 239.5, 640, 480)
        assert frame.time == pytest.approx(1.0 + 0.033 * number)
        assert frame.unit == unit
    assert not sdk.stopped
    with pytest.raises(SourceLostError, match="camera was lost"):
        next(source)
    assert sdk.stopped


@pytest.mark.parametrize(("name", "module", "package", "fake", "unit"), MAKERS)
def test_leaving_gives_the_camera_back(
    monkeypatch: pytest.MonkeyPatch, name: str, module: str, package: str, fake: type, unit: float
) -> None:
    sdk = fake(plugged=True, count=1000)
    monkeypatch.setitem(sys.modules, module, sdk)
    arrivals = newest_frame(open_source(name))
    next(arrivals)
    arrivals.close()
    assert sdk.stopped


@pytest.mark.parametrize(("name", "module", "package", "fake", "unit"), MAKERS)
def test_what_to_install_or_plug_in_is_said(
    monkeypatch: pytest.MonkeyPatch, name: str, module: str, package: str, fake: type, unit: float, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, module, fake(plugged=False, count=0))
    with pytest.raises(HandPoseError, match=r"\(No device \w+\); plug one into a USB 3 port"):
        next(open_source(name))
    monkeypatch.delitem(sys.modules, module)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / f"{module}.py").write_text("raise ImportError('libusb-1.0.so.0: cannot open shared object file')")
    with pytest.raises(HandPoseError, match=rf"{package} is installed but does not load \(libusb"):
        next(open_source(name))
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(HandPoseError, match=f"pip install {package}$"):
        next(open_source(name))


def test_what_a_package_says_on_import_does_not_reach_stdout(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "pyorbbecsdk.py").write_text("import os\nos.write(1, b'hello')\nraise ImportError('x')")
    with pytest.raises(HandPoseError):
        next(open_source("orbbec"))
    assert capfd.readouterr() == ("", "hello")


def test_a_folder_is_read_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    for number in (10, 9, 100):
        cv2.imwrite(str(tmp_path / f"frame{number}.png"), np.full((48, 64), 400 * 8 + number, np.uint16))
    camera = Camera(60.0, 60.0, 31.5, 23.5, 64, 48)
    taken = list(open_source(str(tmp_path), camera=camera, unit=0.125, fps=25.0))
    assert [frame.depth[0, 0] for frame in taken] == [400.0 + number / 8 for number in (9, 10, 100)]
    assert [frame.time for frame in taken] == [0.0, 0.04, 0.08]
    assert {(frame.camera, frame.unit) for frame in taken} == {(camera, 0.125)}


def test_sources_that_are_none(tmp_path: Path) -> None:
    camera = Camera.parse("msra")
    with pytest.raises(HandPoseError, match=r"kinect: no such source; expected realsense, orbbec, synthetic"):
        open_source("kinect")
    with pytest.raises(HandPoseError, match="give it with --camera"):
        open_source(str(tmp_path))
    with pytest.raises(HandPoseError, match="no depth files"):
        next(open_source(str(tmp_path), camera=camera))
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(DepthReadError, match=r"a\.png"):
        next(open_source(str(tmp_path), camera=camera))
    with pytest.raises(HandPoseError, match="not a recording"):
        next(open_source(str(EXAMPLES / "open.png")))


def ticking(count: int, period: float, closed: list[bool] | None = None, lost: bool = False) -> Source:
    """A camera that gives frame n at n * period, whoever looks or not."""
    begin = time.monotonic()
    try:
        for number in range(count):
            time.sleep(max(0.0, begin + number * period - time.monotonic()))
            yield DepthFrame(STORED, Camera.parse("nyu"), number * period)
        if lost:
            raise SourceLostError("the camera was lost")
    finally:
        if closed is not None:
            closed.append(True)


def test_the_newest_frame_wins_and_latency_does_not_grow() -> None:
    """Work takes three periods: two of three frames are dropped, and each is at most a period old when begun."""
    period, statistics, ages, numbers = 0.04, Statistics(), [], []
    for arrival in newest_frame(ticking(25, period)):
        ages.append(time.perf_counter() - arrival.at)
        numbers.append(round(arrival.frame.time / period))
        time.sleep(3 * period)
        statistics.add(arrival)
    row = statistics.row()
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == 24
    assert row["frames"] + row["dropped"] == 25
    assert row["frames"] <= 12
    assert np.median(ages) < 2.0 * period
    assert np.median(ages[-3:]) < 2.0 * period
    assert 3.0 * period < row["latency_p50_ms"] / 1000.0 < 6.0 * period
    assert row["latency_p95_ms"] >= row["latency_p50_ms"]


def test_no_frame_is_dropped_when_the_source_waits() -> None:
    times = []
    for arrival in every_frame(ticking(5, 0.0)):
        time.sleep(0.01)
        times.append(arrival.frame.time)
    assert len(times) == 5


def test_a_lost_camera_is_told_after_its_last_frame() -> None:
    closed: list[bool] = []
    arrivals, seen = newest_frame(ticking(3, 0.03, closed, lost=True)), []
    with pytest.raises(SourceLostError):
        seen.extend(arrival.frame.time for arrival in arrivals)
    assert seen[-1] == pytest.approx(0.06)
    assert closed == [True]


def test_a_recording_can_be_played_at_its_own_speed() -> None:
    instant = (DepthFrame(STORED, Camera.parse("nyu"), 7.0 + 0.1 * n) for n in range(4))
    begin = time.monotonic()
    assert len(list(at_own_speed(instant))) == 4
    assert 0.3 <= time.monotonic() - begin < 1.0
