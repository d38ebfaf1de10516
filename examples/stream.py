"""Track a hand in a stream of depth frames and print the position and speed of its index fingertip.

python examples/stream.py [SOURCE]

SOURCE is `realsense`, `orbbec`, `synthetic` or the path of a recording (default: the recording in this folder).
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import numpy as np

from handpose import HandPoseError, HandPoseEstimator, HandTracker, open_source

source = sys.argv[1] if len(sys.argv) > 1 else str(Path(__file__).parent / "hand.hpr")
tracker = HandTracker(HandPoseEstimator.from_pretrained("msra"))
try:
    for frame in itertools.islice(open_source(source), 45):
        for hand in tracker.update(frame.depth, frame.camera, frame.time):
            tip = hand.pose.layout.joints.index("index_tip")
            x, y, z = hand.pose.xyz[tip]
            speed = np.linalg.norm(hand.velocity[tip])
            print(f"{frame.time:5.2f} s  hand {hand.id}: index tip at {x:4.0f} {y:4.0f} {z:4.0f} mm, {speed:4.0f} mm/s")
except HandPoseError as error:  # its message is one line
    sys.exit(f"error: {error}")
