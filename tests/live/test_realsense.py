"""RealSense cameras, with software cameras of the SDK in the place of real ones."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from handpose import HandPoseError
from handpose.cli.main import app
from handpose.errors import SourceLostError
from handpose.geometry.camera import Camera
from handpose.live.pacing import newest_frame
from handpose.live.sources.catalog import open_source
from tests.helpers.recordings import SoftwareCamera, plug, send_when_started

IMAGES = np.random.default_rng(0).integers(0, 9000, (3, 480, 640), dtype=np.uint16)
CAMERA = Camera(475.5, 476.5, 320.5, 239.5, 640, 480)


@pytest.fixture
def rs() -> Any:
    return pytest.importorskip("pyrealsense2")


def test_frames_unit_intrinsics_and_times_until_the_camera_is_lost(rs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    software = SoftwareCamera(rs, camera=CAMERA)
    send_when_started(software, plug(monkeypatch, rs, software), IMAGES)
    source = open_source("realsense")
    for number, image in enumerate(IMAGES):
        frame = next(source)
        assert np.array_equal(frame.depth, image * np.float32(0.125))
        assert frame.depth.dtype == np.float32
        assert (frame.camera, frame.unit) == (CAMERA, 0.125)
        assert frame.time == pytest.approx(1.0 + number / 10)
    with pytest.raises(SourceLostError, match=r"the RealSense camera was lost \(Frame did not arrive in time!\)"):
        next(source)
    send_when_started(software, plug(monkeypatch, rs, software), IMAGES)  # it was released
    arrivals = newest_frame(open_source("realsense:123", size=(640, 480), fps=30.0))
    next(arrivals)
    arrivals.close()


def test_the_camera_is_chosen_by_serial_number_and_the_stream_by_size(rs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = SoftwareCamera(rs, serial="1", camera=CAMERA), SoftwareCamera(rs, serial="2", unit=0.25)
    starting = plug(monkeypatch, rs, first, second)
    with pytest.raises(HandPoseError, match="no RealSense camera 3 is connected; connected are 1, 2"):
        next(open_source("realsense:3"))
    with pytest.raises(HandPoseError, match=r"no depth stream of 848x480 at 60 .* one that it has: 640x480 at 30"):
        next(open_source("realsense:1", size=(848, 480), fps=60))
    send_when_started(second, starting, IMAGES[:1, :240, :320])
    frame = next(open_source("realsense:2", size=(320, 240)))
    assert np.array_equal(frame.depth, IMAGES[0, :240, :320] * np.float32(0.25))
    plug(monkeypatch, rs)
    with pytest.raises(HandPoseError, match="no RealSense camera is connected; connect one to a USB 3 port"):
        next(open_source("realsense"))
    with pytest.raises(HandPoseError, match="the size can only be chosen for cameras"):
        open_source("synthetic", size=(320, 240))


def test_the_command_lists_the_cameras(rs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plug(monkeypatch, rs, SoftwareCamera(rs, serial="1", camera=CAMERA), SoftwareCamera(rs, serial="2"))
    done = CliRunner().invoke(app, ["cameras"])
    assert done.stdout.splitlines() == [
        *("realsense:1  Software camera", "    640x480 at 30 frames per second"),
        *("realsense:2  Software camera", "    320x240 at 30 frames per second"),
    ]
    rows = json.loads(CliRunner().invoke(app, ["cameras", "--json"]).stdout)
    assert [row["name"] for row in rows] == ["realsense:1", "realsense:2"]
    plug(monkeypatch, rs)
    assert CliRunner().invoke(app, ["cameras"]).stdout == ""
