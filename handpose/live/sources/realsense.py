"""RealSense depth cameras, through `pyrealsense2`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from handpose.errors import HandPoseError, SourceLostError
from handpose.geometry.camera import Camera
from handpose.io.depth.read import to_depth
from handpose.live.sources.sdk import ConnectedCamera, Size, load_sdk
from handpose.recordings.frame import DepthFrame, Source

_TIMEOUT_MS = 3000
_DEFAULT_SIZE, _DEFAULT_FPS = (640, 480), 30  # all models support it
_ADVICE = "connect one to a USB 3 port, and close programs that use it"


def frames(*, serial: str | None = None, size: Size | None = None, fps: float | None = None) -> Source:
    """Yield the depth frames of a RealSense camera.

    Args:
        serial: Serial number of the camera; the first camera by default.
        size: Width and height of the images; 640 x 480 by default.
        fps: Frames per second; 30 by default.

    Raises:
        HandPoseError: `pyrealsense2` is not installed, no camera is connected, or it has no such stream.
        SourceLostError: The connection to the camera was lost.
    """
    rs = _load()
    with _opening():
        sensor = _depth_sensor(_find_device(rs, serial))
        profile = _find_profile(rs, sensor, size or _DEFAULT_SIZE, fps or _DEFAULT_FPS)
        queue = rs.frame_queue(1)
        sensor.open(profile)
        sensor.start(queue)
    try:
        with _opening():
            camera = Camera.of(profile.get_intrinsics())
        while True:
            try:
                image = queue.wait_for_frame(_TIMEOUT_MS).as_depth_frame()
            except RuntimeError as error:
                raise SourceLostError(f"the RealSense camera was lost ({error})") from None
            unit = round(1000.0 * image.get_units(), 6)  # meters, in single precision
            depth = to_depth(np.array(image.get_data()), unit)
            yield DepthFrame(depth, camera, image.get_timestamp() / 1000.0, unit)
    finally:
        with contextlib.suppress(RuntimeError):  # of a camera that was lost
            sensor.stop()
            sensor.close()


def cameras() -> list[ConnectedCamera]:
    """List the connected cameras.

    Raises:
        HandPoseError: `pyrealsense2` is not installed, or a camera cannot be opened.
    """
    rs = _load()
    with _opening():
        return [
            ConnectedCamera(
                f"realsense:{device.get_info(rs.camera_info.serial_number)}",
                device.get_info(rs.camera_info.name),
                tuple(sorted({_stream(profile) for profile in _profiles(rs, _depth_sensor(device))})),
            )
            for device in _devices(rs)
        ]


@contextlib.contextmanager
def _opening() -> Iterator[None]:
    """Replace errors of the SDK, such as a missing permission for the device, in this block, which opens a camera."""
    try:
        yield
    except RuntimeError as error:
        raise HandPoseError(f"the RealSense camera cannot be opened ({error}); {_ADVICE}") from None


def _load() -> Any:
    return load_sdk("pyrealsense2", "pyrealsense2", "a RealSense camera")


def _devices(rs: Any) -> list[Any]:
    """Return the devices with a depth sensor."""
    return [
        device
        for device in rs.context().query_devices()
        if any(sensor.is_depth_sensor() for sensor in device.query_sensors())
    ]


def _find_device(rs: Any, serial: str | None) -> Any:
    devices = {device.get_info(rs.camera_info.serial_number): device for device in _devices(rs)}
    if not devices:
        raise HandPoseError(f"no RealSense camera is connected; {_ADVICE}")
    if serial is not None and serial not in devices:
        raise HandPoseError(f"no RealSense camera {serial} is connected; connected are {', '.join(devices)}")
    return devices[serial or next(iter(devices))]


def _depth_sensor(device: Any) -> Any:
    return next(sensor for sensor in device.query_sensors() if sensor.is_depth_sensor())


def _profiles(rs: Any, sensor: Any) -> Iterator[Any]:
    for profile in sensor.get_stream_profiles():
        if (profile.stream_type(), profile.format()) == (rs.stream.depth, rs.format.z16):
            yield profile.as_video_stream_profile()


def _stream(profile: Any) -> tuple[int, int, float]:
    return profile.width(), profile.height(), profile.fps()


def _find_profile(rs: Any, sensor: Any, size: Size, fps: float) -> Any:
    profiles = {_stream(profile): profile for profile in _profiles(rs, sensor)}
    wanted = (*size, fps)
    if wanted not in profiles:
        offered = ", ".join(f"{width}x{height} at {rate:g}" for width, height, rate in sorted(profiles))
        raise HandPoseError(
            f"the RealSense camera has no depth stream of {size[0]}x{size[1]} at {fps:g} frames per second; pass "
            f"`size=...` and `fps=...` of one that it has: {offered}"
        )
    return profiles[wanted]
