"""Predict one depth image, print its joints, and write a picture and an interactive 3D page.

python examples/one_image.py [IMAGE CAMERA [FOLDER]]
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2

from handpose import Camera, HandPoseEstimator, pose_page, read_depth

HERE = Path(__file__).parent
given = dict(enumerate(sys.argv))
image, camera = given.get(1, HERE / "open.png"), given.get(2, HERE / "camera.json")
folder = Path(given.get(3, "pictures"))

depth = read_depth(image)  # (H, W) mm; pass unit="m" or unit=0.125 if the values are not in millimeters
estimator = HandPoseEstimator.from_pretrained("msra")
pose = estimator.predict(depth, camera=Camera.parse(str(camera)))
if pose.status == "no_hand":
    sys.exit("no hand was found")
for joint, (x, y, z) in zip(pose.layout.joints, pose.xyz, strict=True):
    print(f"{joint:12} {x:8.1f} {y:8.1f} {z:8.1f} mm")

folder.mkdir(parents=True, exist_ok=True)
cv2.imwrite(str(folder / "hand.png"), pose.draw(depth))
(folder / "hand.html").write_text(pose_page(pose, depth), encoding="utf-8")
