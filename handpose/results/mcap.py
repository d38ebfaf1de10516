"""Hands as ROS 2 messages in MCAP files, for Foxglove, Rerun and robots. ROS measures in meters."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise
from typing import BinaryIO

import cv2
import numpy as np

from handpose.errors import HandPoseError
from handpose.io.ros.cdr import CdrWriter
from handpose.io.ros.mcap import McapWriter
from handpose.io.ros.messages import CAMERA_FRAME
from handpose.io.warn import warn
from handpose.results.pose import HandPose
from handpose.results.records import FailedFrame, Record

_NO_ROTATION = (0.0, 0.0, 0.0, 1.0)
_FPS = 30.0  # frame rate of frames without a capture time


class HandMcapWriter:
    """Writes the hands of a stream to a file.

    Every frame is a message on `/tf` with a coordinate frame per joint, such as `hand_0/wrist`, and one on `/hand_0`
    with the joints of hand 0 as `geometry_msgs/PoseArray`. Their names are on `/hand_0/joint_names`, and its side,
    `right` or `left`, is on `/hand_0/side`; both are written when they are new or have changed. The coordinate frame of
    the wrist is that of `HandPose.wrist`; those of the other joints have the axes of the camera frame.

    Args:
        file: An empty file. Every frame is complete in it before `write` returns.

    Raises:
        OSError: The file cannot be written. This applies to all methods.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._writer = McapWriter(file, "handpose")
        self._texts: dict[str, str] = {}  # the last one of each topic

    def write(self, seconds: float, hands: Iterable[tuple[int, HandPose]]) -> None:
        """Append a frame.

        Args:
            seconds: Capture time in s.
            hands: Id and pose of each hand. Poses without a hand are skipped.
        """
        hands = [(id_, pose) for id_, pose in hands if pose.status != "no_hand"]
        if hands:
            self._writer.add("/tf", "tf2_msgs/msg/TFMessage", seconds, _transforms(seconds, hands))
        for id_, pose in hands:
            topic = f"/hand_{id_}"
            self._write_text(f"{topic}/joint_names", seconds, json.dumps(pose.layout.joints))
            self._write_text(f"{topic}/side", seconds, pose.hand)
            self._writer.add(topic, "geometry_msgs/msg/PoseArray", seconds, _pose_array(seconds, pose))
        self._writer.flush()

    def _write_text(self, topic: str, seconds: float, text: str) -> None:
        """Append a text if it is not the last one of its topic."""
        if self._texts.get(topic) != text:
            self._texts[topic] = text
            self._writer.add(topic, "std_msgs/msg/String", seconds, CdrWriter().text(text).message())

    def finish(self) -> None:
        """Complete the file, without closing it."""
        self._writer.close()


def mcap_bytes(records: Sequence[Record]) -> bytes:
    """Return the content of a file with the hands of records.

    The id of a hand is its index in the image. Frames without a capture time are 1/30 s apart.

    Warns:
        UserWarning: The times do not increase.
    """
    file = io.BytesIO()
    writer = HandMcapWriter(file)
    times: list[float] = []
    for number, (_, frame) in enumerate(groupby(records, key=lambda record: record.source)):
        poses = [record for record in frame if not isinstance(record, FailedFrame)]
        if poses:
            seconds = number / _FPS if poses[0].time is None else poses[0].time
            writer.write(seconds, [(pose.hand_index, pose) for pose in poses])
            times.append(seconds)
    writer.finish()
    if any(later <= earlier for earlier, later in pairwise(times)):
        warn(
            "the times of the frames do not increase, as in several recordings, so programs that play the file mix "
            "their hands; write one file per recording"
        )
    return file.getvalue()


def _transforms(seconds: float, hands: Sequence[tuple[int, HandPose]]) -> bytes:
    message = CdrWriter().numbers("I", sum(len(pose.layout) for _, pose in hands))
    for id_, pose in hands:
        for name, xyz in zip(pose.layout.joints, _meters(pose), strict=True):
            message.header(seconds, CAMERA_FRAME).text(f"hand_{id_}/{name}").numbers("d", *xyz, *_rotation(pose, name))
    return message.message()


def _rotation(pose: HandPose, joint: str) -> tuple[float, ...]:
    """Return the quaternion x, y, z, w of a joint: the hand's orientation for the wrist, otherwise no rotation."""
    if joint != "wrist":
        return _NO_ROTATION
    try:
        axis = cv2.Rodrigues(pose.wrist()[:3, :3])[0].reshape(3)  # its length is the angle
    except HandPoseError:  # the layout has no knuckles
        return _NO_ROTATION
    angle = float(np.linalg.norm(axis))
    return (*(np.sinc(angle / 2 / np.pi) / 2 * axis), np.cos(angle / 2))


def _pose_array(seconds: float, pose: HandPose) -> bytes:
    message = CdrWriter().header(seconds, CAMERA_FRAME).numbers("I", len(pose.layout))
    for xyz in _meters(pose):
        message.numbers("d", *xyz, *_NO_ROTATION)
    return message.message()


def _meters(pose: HandPose) -> np.ndarray:
    return pose.xyz / 1000.0
