"""Predict one depth image, print its joints, and write a picture and an interactive 3D page.

python examples/one_image.py [IMAGE CAMERA [FOLDER [UNIT]]]

UNIT is that of the depth values: `mm`, `m` or a number of millimeters, such as 0.125.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import cv2

from handpose import Camera, HandPoseError, HandPoseEstimator, pose_page, read_depth

HERE = Path(__file__).parent
given = dict(enumerate(sys.argv))
image, camera = given.get(1, HERE / "open.png"), given.get(2, HERE / "camera.json")
folder, unit = Path(given.get(3, "pictures")), given.get(4, "mm")
warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)

try:
    depth = read_depth(image, float(unit) if unit[0].isdigit() else unit)  # (H, W) mm
    estimator = HandPoseEstimator.from_pretrained("msra")
    pose = estimator.predict(depth, camera=Camera.parse(str(camera)))
except HandPoseError as error:  # its message is one line
    sys.exit(f"error: {error}")
if pose.status == "no_hand":
    sys.exit("no hand was found")
for joint, (x, y, z) in zip(pose.layout.joints, pose.xyz, strict=True):
    print(f"{joint:12} {x:8.1f} {y:8.1f} {z:8.1f} mm")

folder.mkdir(parents=True, exist_ok=True)
cv2.imwrite(str(folder / "hand.png"), pose.draw(depth))
(folder / "hand.html").write_text(pose_page(pose, depth), encoding="utf-8")
