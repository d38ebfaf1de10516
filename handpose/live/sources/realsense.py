"""Intel RealSense depth cameras, through `pyrealsense2`."""

from __future__ import annotations

import numpy as np

from handpose.errors import HandPoseError, SourceLostError
from handpose.geometry.camera import Camera
from handpose.io.depth.read import to_depth
from handpose.live.frame import DepthFrame, Source
from handpose.live.sources.sdk import load_sdk

_PATIENCE_MS = 3000


def frames() -> Source:
    """The depth frames of the first RealSense camera: 640 x 480 at 30 per second, which all models have.

    Raises:
        HandPoseError: `pyrealsense2` is not installed, or there is no camera.
        SourceLostError: the camera has stopped giving frames.
    """
    rs = load_sdk("pyrealsense2", "pyrealsense2", "a RealSense camera")
    pipeline, config = rs.pipeline(), rs.config()
    config.enable_stream(rs.stream.depth, 640, 480, rs.format.z16, 30)
    try:
        profile = pipeline.start(config)
    except RuntimeError as error:
        raise HandPoseError(
            f"no RealSense camera can be opened ({error}); plug one into a USB 3 port and close what else uses it"
        ) from None
    try:
        lens = profile.get_stream(rs.stream.depth).as_video_stream_profile().get_intrinsics()
        camera = Camera(lens.fx, lens.fy, lens.ppx, lens.ppy, lens.width, lens.height)
        while True:
            try:
                taken = pipeline.wait_for_frames(_PATIENCE_MS).get_depth_frame()
            except RuntimeError as error:
                raise SourceLostError(f"the RealSense camera was lost ({error})") from None
            unit = round(1000.0 * taken.get_units(), 6)  # from single precision metres
            depth = to_depth(np.asanyarray(taken.get_data()), unit)
            yield DepthFrame(depth, camera, taken.get_timestamp() / 1000.0, unit)
    finally:
        pipeline.stop()
