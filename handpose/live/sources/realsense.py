"""Intel RealSense depth cameras, through `pyrealsense2`."""

from __future__ import annotations

import numpy as np

from handpose.errors import HandPoseError, SourceLostError
from handpose.geometry.camera import Camera
from handpose.io.depth.read import to_depth
from handpose.live.sources.sdk import load_sdk
from handpose.recordings.frame import DepthFrame, Source

_TIMEOUT_MS = 3000


def frames() -> Source:
    """Yield the depth frames of the first RealSense camera: 640 x 480 at 30 fps, which all models support.

    Raises:
        HandPoseError: `pyrealsense2` is not installed, or no camera is connected.
        SourceLostError: The connection to the camera was lost.
    """
    rs = load_sdk("pyrealsense2", "pyrealsense2", "a RealSense camera")
    pipeline, config = rs.pipeline(), rs.config()
    config.enable_stream(rs.stream.depth, 640, 480, rs.format.z16, 30)
    try:
        profile = pipeline.start(config)
    except RuntimeError as error:
        raise HandPoseError(
            f"no RealSense camera can be opened ({error}); connect one to a USB 3 port, and close programs that use it"
        ) from None
    try:
        lens = profile.get_stream(rs.stream.depth).as_video_stream_profile().get_intrinsics()
        camera = Camera.of(lens)
        while True:
            try:
                image = pipeline.wait_for_frames(_TIMEOUT_MS).get_depth_frame()
            except RuntimeError as error:
                raise SourceLostError(f"the RealSense camera was lost ({error})") from None
            unit = round(1000.0 * image.get_units(), 6)  # meters, in single precision
            depth = to_depth(np.asanyarray(image.get_data()), unit)
            yield DepthFrame(depth, camera, image.get_timestamp() / 1000.0, unit)
    finally:
        pipeline.stop()
