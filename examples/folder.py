"""Predict a folder of depth images in batches, print each result when it is ready, and report damaged files.

python examples/folder.py [FOLDER CAMERA]
"""

from __future__ import annotations

import sys
from pathlib import Path

from handpose import Camera, HandPoseEstimator, Query, predict_files

HERE = Path(__file__).parent
given = dict(enumerate(sys.argv))
folder, camera = Path(given.get(1, HERE)), given.get(2, HERE / "camera.json")

estimator = HandPoseEstimator.from_pretrained("msra")
query = Query(camera=Camera.parse(str(camera)))
for result in predict_files(estimator, sorted(folder.glob("*.png")), query):
    if result.pose is None:
        print(f"{result.path.name}: {result.error}", file=sys.stderr)
    elif result.pose.status == "no_hand":
        print(f"{result.path.name}: no hand")
    else:
        x, y, z = result.pose["index_tip"]
        print(f"{result.path.name}: index tip at {x:.1f}, {y:.1f}, {z:.1f} mm")
