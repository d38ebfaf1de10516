"""Draw `docs/images/live.gif`: tracking on the synthetic source. Requires the extras `train` and `plot`.

python docs/draw_live.py
"""

from __future__ import annotations

import itertools
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from handpose.inference.estimator import HandPoseEstimator
from handpose.inference.tracker import HandTracker
from handpose.live.sources.synthetic import frames
from handpose.results.overlay import depth_picture, draw_skeleton

FILE = Path(__file__).resolve().parent / "images" / "live.gif"
FRAMES, EVERY, SEED = 150, 3, 1  # shows every third of 30 frames per second
SIDE, COLORS, NEAR = 240, 128, 330.0  # px, colors, mm


def main() -> None:
    tracker = HandTracker(HandPoseEstimator.from_pretrained("msra", device="cpu"), hand="right")
    shown = []
    for number, frame in enumerate(itertools.islice(frames(seed=SEED), FRAMES)):
        hands = tracker.update(frame.depth, frame.camera, frame.time)
        if number % EVERY:
            continue
        still = cv2.medianBlur(frame.depth, 5)  # without sensor noise, the file is smaller
        picture = depth_picture(still, NEAR)
        draw_skeleton(picture, hands[0].pose.uvz, hands[0].pose.layout)
        picture = picture[:, 40:280]
        # Next to it, draw the same joints seen from the side of the hand: x becomes the depth.
        joints = hands[0].pose.xyz
        middle = joints.mean(axis=0)
        turned = np.stack([joints[:, 2] - middle[2], joints[:, 1] - middle[1], middle[0] - joints[:, 0]], axis=1)
        uvz = turned * [0.9, 0.9, 1.0] + [SIDE / 2, SIDE / 2, 500.0]
        beside = np.zeros((SIDE, SIDE, 3), np.uint8)
        draw_skeleton(beside, uvz, hands[0].pose.layout)
        shown.append(
            Image.fromarray(np.hstack([picture, beside])[:, :, ::-1]).quantize(COLORS, dither=Image.Dither.NONE)
        )
    shown[0].save(FILE, save_all=True, append_images=shown[1:], duration=1000 * EVERY // 30, loop=0, optimize=True)


if __name__ == "__main__":
    main()
