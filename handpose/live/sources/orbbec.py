"""Orbbec depth cameras, through `pyorbbecsdk2`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from handpose.errors import HandPoseError, SourceLostError
from handpose.geometry.camera import Camera
from handpose.geometry.camera_files import distortion_of
from handpose.io.depth.read import to_depth
from handpose.live.sources.sdk import load_sdk
from handpose.recordings.frame import DepthFrame, Source

_TIMEOUT_MS = 3000


def frames() -> Source:
    """Yield the depth frames of the first Orbbec camera, in its default size and frame rate.

    Raises:
        HandPoseError: `pyorbbecsdk2` is not installed, or no camera is connected.
        SourceLostError: The connection to the camera was lost.
    """
    ob = load_sdk("pyorbbecsdk", "pyorbbecsdk2", "an Orbbec camera")
    failures = (RuntimeError, ob.OBError)
    try:
        pipeline, config = ob.Pipeline(), ob.Config()
        profile = pipeline.get_stream_profile_list(ob.OBSensorType.DEPTH_SENSOR).get_default_video_stream_profile()
        config.enable_stream(profile)
        pipeline.start(config)
    except failures as error:
        raise HandPoseError(
            f"no Orbbec camera can be opened ({error}); connect one to a USB 3 port, and close programs that use it"
        ) from None
    try:
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
        pipeline.stop()
