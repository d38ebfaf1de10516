"""Draw `docs/images/examples.png`: predictions on the depth images in `examples/`, cropped to the hand.

python docs/draw_examples.py
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from handpose import Camera, HandPoseEstimator, read_depth

ROOT = Path(__file__).resolve().parent.parent
SIDE, SHOWN = 300, 420  # side of the crop in px of the depth image, and in px of the picture

if __name__ == "__main__":
    camera = Camera.parse(str(ROOT / "examples" / "camera.json"))
    estimator = HandPoseEstimator.from_pretrained("msra", device="cpu")
    tiles = []
    for name in ("open", "thumb", "down"):
        depth = read_depth(ROOT / "examples" / f"{name}.png")
        pose = estimator.predict(depth, camera=camera)
        u, v = pose.uvz[:, :2].mean(axis=0).astype(int)
        left, top = np.clip([u - SIDE // 2, v - SIDE // 2], 0, [640 - SIDE, 480 - SIDE])
        tile = pose.draw(depth)[top : top + SIDE, left : left + SIDE]
        tiles.append(cv2.resize(tile, (SHOWN, SHOWN), interpolation=cv2.INTER_CUBIC))
    cv2.imwrite(str(ROOT / "docs" / "images" / "examples.png"), np.hstack(tiles))
