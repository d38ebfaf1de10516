"""Recordings for tests, written by the manufacturer's package and by ROS's."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from handpose import Camera
from handpose.recordings.frame import Source
from handpose.recordings.open import open_recording, recorded_frames
from tests.helpers.paths import EXAMPLES

LENS = Camera(241.5, 242.5, 159.5, 119.25, 320, 240)


def frames(path: Path) -> Source:
    """The frames of a recording."""
    return recorded_frames(open_recording(path))


def chunk_places(data: bytes) -> list[range]:
    """The places of the chunks in a recording."""
    at, places = 8, []
    while at < len(data):
        kind, size = struct.unpack_from("<BQ", data, at)
        if kind == 6:
            places.append(range(at + 9, at + 9 + size))
        if kind == 2:  # the footer
            break
        at += 9 + size
    return places


class SoftwareCamera:
    """A RealSense camera made of software, which the SDK treats as a real one."""

    def __init__(self, rs: Any, *, serial: str = "123", unit: float = 0.125, camera: Camera = LENS) -> None:
        self._rs, self._unit, self._sent = rs, unit, 0
        self.device = rs.software_device()
        self.device.register_info(rs.camera_info.name, "Software camera")
        self.device.register_info(rs.camera_info.serial_number, serial)
        self._sensor = self.device.add_sensor("Depth")
        self._sensor.add_read_only_option(rs.option.depth_units, unit / 1000.0)
        lens = rs.intrinsics()
        lens.fx, lens.fy, lens.ppx, lens.ppy = camera.fx, camera.fy, camera.cx, camera.cy
        lens.width, lens.height = int(camera.width), int(camera.height)
        lens.model, lens.coeffs = rs.distortion.none, [0.0] * 5
        stream = rs.video_stream()
        stream.type, stream.index, stream.uid, stream.fmt = rs.stream.depth, 0, 1, rs.format.z16
        stream.width, stream.height, stream.fps, stream.bpp = lens.width, lens.height, 30, 2
        stream.intrinsics = lens
        self._profile = self._sensor.add_video_stream(stream).as_video_stream_profile()

    def send(self, image: np.ndarray, seconds: float) -> None:
        """Capture an image (H, W) uint16 in units."""
        frame = self._rs.software_video_frame()
        frame.pixels, frame.stride, frame.bpp = np.ascontiguousarray(image), 2 * image.shape[1], 2
        frame.timestamp, frame.domain = 1000.0 * seconds, self._rs.timestamp_domain.hardware_clock
        frame.frame_number, frame.profile = self._sent, self._profile
        frame.depth_units = self._unit / 1000.0
        self._sensor.on_video_frame(frame)
        self._sent += 1


def record_realsense(
    rs: Any, path: Path, images: Sequence[np.ndarray], times: Sequence[float], *, unit: float = 0.125, camera: Camera
) -> None:
    """Write a recording with the SDK's recorder."""
    software = SoftwareCamera(rs, unit=unit, camera=camera)
    recorder = rs.recorder(str(path), software.device)
    sensor = recorder.query_sensors()[0]
    queue = rs.frame_queue(50)
    sensor.open(sensor.get_stream_profiles()[0])
    sensor.start(queue)
    for image, seconds in zip(images, times, strict=True):
        software.send(image, seconds)
        queue.wait_for_frame()
    sensor.stop()
    sensor.close()


def play_realsense(rs: Any, path: Path) -> list[tuple[np.ndarray, float, float, Camera]]:
    """Play a recording with the SDK: values (H, W), unit in mm, time in s and intrinsics of its frames."""
    playback = rs.context().load_device(str(path))
    playback.set_real_time(False)  # before it starts, so that no frame is dropped
    (sensor,) = playback.query_sensors()
    (profile,) = sensor.get_stream_profiles()
    lens = profile.as_video_stream_profile().get_intrinsics()
    camera = Camera(lens.fx, lens.fy, lens.ppx, lens.ppy, lens.width, lens.height)
    queue = rs.frame_queue(100)
    sensor.open(profile)
    sensor.start(queue)
    played = []
    while True:
        arrived, frame = queue.try_wait_for_frame(2000)
        if not arrived:
            return played
        image = frame.as_depth_frame()
        unit = round(1000.0 * image.get_units(), 6)
        played.append((np.array(image.get_data()), unit, image.get_timestamp() / 1000.0, camera))


def bag_images() -> np.ndarray:
    """The images (3, H, W) uint16 of `REALSENSE_BAG` in units of 0.125 mm, taken at 1000 s, 30 per second."""
    rng = np.random.default_rng(0)
    depths = [frame.depth for frame in islice(frames(EXAMPLES / "hand.hpr"), 3)]
    finer = [np.where(depth > 0, depth * 8 + rng.integers(0, 8, depth.shape), 0) for depth in depths]
    return np.array(finer).astype(np.uint16)


def plug(monkeypatch: pytest.MonkeyPatch, rs: Any, *cameras: SoftwareCamera) -> threading.Event:
    """Connect software cameras, and return an event that a source sets when it is about to start one."""
    starting, queue = threading.Event(), rs.frame_queue

    def frame_queue(size: int) -> Any:
        starting.set()
        return queue(size)

    devices = [camera.device for camera in cameras]
    monkeypatch.setattr(rs, "context", lambda: SimpleNamespace(query_devices=lambda: devices))
    monkeypatch.setattr(rs, "frame_queue", frame_queue)
    return starting


def send_when_started(camera: SoftwareCamera, starting: threading.Event, images: Sequence[np.ndarray]) -> None:
    """Send images, 10 per second, after the source has started the camera."""

    def send() -> None:
        starting.wait(60)
        for number, image in enumerate(images):
            time.sleep(0.1)
            camera.send(image, 1.0 + number / 10)

    threading.Thread(target=send, daemon=True).start()
