"""A viewer of streams in Rerun: depth image, point cloud, 3D skeletons, and time series."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from handpose.errors import HandPoseError
from handpose.geometry.crop import surface_in_cube
from handpose.geometry.rectification import rectify
from handpose.inference.tracker import TrackedHand
from handpose.io.outputs import refuse_existing
from handpose.recordings.frame import DepthFrame
from handpose.results.overlay import joint_colors

ADDRESS = ("rerun+http://", "rerun+https://", "rerun://")
"""Starts of the addresses of running viewers."""


class RerunViewer:
    """Show frames and hands in Rerun, with distances in meters, as Rerun's cameras require.

    Args:
        path: Path of an `.rrd` file to write instead of opening the viewer, or the address of a viewer that is running
            on this or another machine, such as `rerun+http://HOST:9876/proxy`.
        force: Whether an existing file may be overwritten.

    Raises:
        HandPoseError: Rerun is not installed, its viewer cannot be started, or the file exists.
    """

    def __init__(self, path: str | Path | None = None, *, force: bool = False) -> None:
        is_address = str(path).startswith(ADDRESS)
        if path is not None and not is_address:
            refuse_existing(path, force=force)
        try:
            import rerun as rr
            import rerun.blueprint as rrb
        except ImportError:
            raise HandPoseError("the viewer requires Rerun: pip install 'handpose[view]'") from None
        self._rr: Any = rr
        self._stream = rr.RecordingStream("handpose")
        if path is None and sys.platform == "linux" and not (os.environ.keys() & {"DISPLAY", "WAYLAND_DISPLAY"}):
            raise HandPoseError(
                "Rerun requires a display, but none is available; pass `view=FILE.rrd`, or "
                "`view=rerun+http://HOST:9876/proxy` for a viewer that is running on another machine"
            )
        try:
            if path is None:
                self._stream.spawn()
            elif is_address:
                self._stream.connect_grpc(str(path))
            else:
                self._stream.save(path)
        except (RuntimeError, OSError, ValueError) as error:
            raise HandPoseError(f"Rerun cannot be opened ({error})") from None
        series = [rrb.TimeSeriesView(origin=name, name=name) for name in ("speed_mm_s", "spread_mm")]
        flat = rrb.Vertical(rrb.Spatial2DView(origin="camera", name="depth"), *series)
        self._stream.send_blueprint(rrb.Horizontal(rrb.Spatial3DView(origin="/", name="3D"), flat))
        self._stream.log("/", rr.ViewCoordinates.RDF, static=True)
        self._shown: set[int] = set()
        self._start: float | None = None

    def show(self, frame: DepthFrame, hands: Sequence[TrackedHand]) -> None:
        """Add a frame, without the distortion of its lens, and its hands."""
        rr, stream = self._rr, self._stream
        depth, camera = rectify(frame.depth, frame.camera.for_image(frame.depth.shape[1], frame.depth.shape[0]))
        frame = frame._replace(depth=depth, camera=camera)
        self._start = frame.time if self._start is None else self._start
        stream.set_time("time", duration=frame.time - self._start)
        stream.log(
            "camera",
            rr.Pinhole(
                focal_length=(camera.fx, camera.fy),
                principal_point=(camera.cx + 0.5, camera.cy + 0.5),  # Rerun's pixel coordinates start at the corner
                resolution=(camera.width, camera.height),
                camera_xyz=rr.ViewCoordinates.RDF,
            ),
        )
        stream.log("camera/depth", rr.DepthImage(frame.depth, meter=1000.0))
        for lost in self._shown - {hand.id for hand in hands}:
            stream.log(f"hand/{lost}", rr.Clear(recursive=True))
        self._shown = {hand.id for hand in hands}
        for hand in hands:
            pose, name = hand.pose, f"hand/{hand.id}"
            xyz = pose.xyz / 1000.0
            colors = np.array(joint_colors(pose.layout), np.uint8)[:, ::-1]
            bones = np.array(pose.layout.bones)
            stream.log(f"{name}/bones", rr.LineStrips3D(xyz[bones], colors=colors[bones[:, 1]], radii=0.002))
            stream.log(
                f"{name}/joints",
                rr.Points3D(xyz, colors=colors, radii=0.004, labels=pose.layout.joints, show_labels=False),
            )
            _, surface = surface_in_cube(frame.depth, camera, pose.center, pose.cube)
            stream.log(f"{name}/surface", rr.Points3D(surface / 1000.0, colors=(170, 170, 170), radii=0.001))
            stream.log(f"speed_mm_s/{hand.id}", rr.Scalars(np.linalg.norm(hand.velocity.mean(axis=0))))
            stream.log(f"spread_mm/{hand.id}", rr.Scalars(np.linalg.norm(pose.spread, axis=1).mean()))

    def close(self) -> None:
        """Complete the stream or file."""
        self._stream.flush()
        self._stream.disconnect()
