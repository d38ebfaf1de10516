"""Draw `docs/images/real.png`: predictions on the real depth images in `examples/sr305/`, around the hand.

python docs/draw_real.py
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from handpose import Camera, HandPoseEstimator, read_depth

ROOT = Path(__file__).resolve().parent.parent
SIDE, SHOWN = 280, 420  # side of the shown square in px of the depth image, and in px of the picture

if __name__ == "__main__":
    camera = Camera.parse(str(ROOT / "examples" / "sr305" / "camera.json"))
    estimator = HandPoseEstimator.from_pretrained("msra", device="cpu")
    tiles = []
    for name in ("open", "pinch", "down"):
        depth = read_depth(ROOT / "examples" / "sr305" / f"{name}.png", 0.125)
        pose = estimator.predict(depth, camera=camera, hand="right")
        picture = pose.draw(depth)
        scale = picture.shape[1] / depth.shape[1]
        u, v = (pose.uvz[:, :2].mean(axis=0) * scale).astype(int)
        side = round(SIDE * scale)
        left, top = np.clip([u - side // 2, v - side // 2], 0, [picture.shape[1] - side, picture.shape[0] - side])
        tile = picture[top : top + side, left : left + side]
        tiles.append(cv2.resize(tile, (SHOWN, SHOWN), interpolation=cv2.INTER_AREA))
    cv2.imwrite(str(ROOT / "docs" / "images" / "real.png"), np.hstack(tiles))
