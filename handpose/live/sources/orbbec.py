"""Orbbec depth cameras, through `pyorbbecsdk2`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from handpose.errors import HandPoseError, SourceLostError
from handpose.geometry.camera import Camera
from handpose.geometry.camera_files import distortion_of
from handpose.io.depth.read import to_depth
from handpose.live.sources.sdk import ConnectedCamera, Size, load_sdk
from handpose.recordings.frame import DepthFrame, Source

_TIMEOUT_MS = 3000


def frames(*, serial: str | None = None, size: Size | None = None, fps: float | None = None) -> Source:
    """Yield the depth frames of an Orbbec camera.

    Args:
        serial: Serial number of the camera; the first camera by default.
        size: Width and height of the images; the camera's default by default.
        fps: Frames per second; the camera's default by default.

    Raises:
        HandPoseError: `pyorbbecsdk2` is not installed, no camera is connected, or it has no such stream.
        SourceLostError: The connection to the camera was lost.
    """
    ob = _load()
    failures = _failures(ob)
    with _opening(ob):
        pipeline, config = _pipeline(ob, serial), ob.Config()
        profile = _profile(ob, pipeline, size, fps)
        config.enable_stream(profile)
        pipeline.start(config)
    try:
        with _opening(ob):
            camera = replace(Camera.of(profile.get_intrinsic()), distortion=distortion_of(profile.get_distortion()))
        while True:
            try:
                frameset = pipeline.wait_for_frames(_TIMEOUT_MS)
            except failures as error:
                raise SourceLostError(f"the Orbbec camera was lost ({error})") from None
            if frameset is None:
                raise SourceLostError(f"the Orbbec camera was lost (no frame for {_TIMEOUT_MS / 1000:g} s)")
            image = frameset.get_depth_frame()
            if image is None:  # the frameset contains other streams only
                continue
            unit = round(image.get_depth_scale(), 6)  # stored in single precision
            stored = np.frombuffer(image.get_data(), np.uint16).reshape(image.get_height(), image.get_width())
            yield DepthFrame(to_depth(stored, unit), camera, image.get_timestamp_us() / 1e6, unit)
    finally:
        with contextlib.suppress(*failures):  # of a camera that was lost
            pipeline.stop()


def cameras() -> list[ConnectedCamera]:
    """List the connected cameras.

    Raises:
        HandPoseError: `pyorbbecsdk2` is not installed, or a camera cannot be opened.
    """
    ob = _load()
    with _opening(ob):
        devices = ob.Context().query_devices()
        return [
            ConnectedCamera(
                f"orbbec:{devices.get_device_serial_number_by_index(i)}", devices.get_device_name_by_index(i), ()
            )
            for i in range(devices.get_count())
        ]


def _failures(ob: Any) -> tuple[type[Exception], ...]:
    """Return the exceptions that the SDK raises."""
    return RuntimeError, ob.OBError


@contextlib.contextmanager
def _opening(ob: Any) -> Iterator[None]:
    """Replace errors of the SDK in this block, which opens a camera."""
    try:
        yield
    except _failures(ob) as error:
        raise HandPoseError(
            f"no Orbbec camera can be opened ({error}); connect one to a USB 3 port, and close programs that use it"
        ) from None


def _load() -> Any:
    return load_sdk("pyorbbecsdk", "pyorbbecsdk2", "an Orbbec camera")


def _pipeline(ob: Any, serial: str | None) -> Any:
    if serial is None:
        return ob.Pipeline()
    return ob.Pipeline(ob.Context().query_devices().get_device_by_serial_number(serial))


def _profile(ob: Any, pipeline: Any, size: Size | None, fps: float | None) -> Any:
    profiles = pipeline.get_stream_profile_list(ob.OBSensorType.DEPTH_SENSOR)
    if size is None and fps is None:
        return profiles.get_default_video_stream_profile()
    width, height = size or (0, 0)  # any
    return profiles.get_video_stream_profile(width, height, ob.OBFormat.Y16, int(fps or 0))
