"""Orbbec depth cameras, through `pyorbbecsdk2`."""

from __future__ import annotations

import numpy as np

from handpose.errors import HandPoseError, SourceLostError
from handpose.geometry.camera import Camera
from handpose.io.depth.read import to_depth
from handpose.live.frame import DepthFrame, Source
from handpose.live.sources.sdk import load_sdk

_PATIENCE_MS = 3000


def frames() -> Source:
    """The depth frames of the first Orbbec camera, in its default size and rate.

    Raises:
        HandPoseError: `pyorbbecsdk2` is not installed, or there is no camera.
        SourceLostError: the camera has stopped giving frames.
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
            f"no Orbbec camera can be opened ({error}); plug one into a USB 3 port and close what else uses it"
        ) from None
    try:
        lens = profile.get_intrinsic()
        camera = Camera(lens.fx, lens.fy, lens.cx, lens.cy, lens.width, lens.height)
        while True:
            try:
                together = pipeline.wait_for_frames(_PATIENCE_MS)
            except failures as error:
                raise SourceLostError(f"the Orbbec camera was lost ({error})") from None
            if together is None:
                raise SourceLostError(f"the Orbbec camera was lost (no frame for {_PATIENCE_MS / 1000:g} s)")
            taken = together.get_depth_frame()
            if taken is None:  # another stream's frame came alone
                continue
            unit = round(taken.get_depth_scale(), 6)  # single precision mm
            stored = np.frombuffer(taken.get_data(), np.uint16).reshape(taken.get_height(), taken.get_width())
            yield DepthFrame(to_depth(stored, unit), camera, taken.get_timestamp_us() / 1e6, unit)
    finally:
        pipeline.stop()
