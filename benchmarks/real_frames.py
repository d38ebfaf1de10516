"""Measure joint errors on hand-labeled real depth images, and draw every prediction.

python benchmarks/real_frames.py FOLDER --pictures OUT

FOLDER contains 16-bit PNG images with 0.125 mm per unit from an Intel SR305, and `labels.json`. For each image, it
contains a `box` (x, y, width, height in px) and, for some images, `points` with `xyz_surface_mm`, the point on the skin
in front of a joint.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np

from handpose import Camera, HandPoseEstimator, read_depth

CAMERA = Camera(476.007, 476.007, 313.683, 242.755, 640, 480)
BEHIND_SKIN = 8.0  # mm: approximate distance of a fingertip joint behind the labeled point on the skin
MARGIN = 10.0  # px around a labeled box


def joint_of(point: str) -> str:
    """Return the name of the joint in our layout that belongs to a labeled point."""
    finger, _, part = point.replace("little", "pinky").partition("_")
    return "wrist" if finger == "wrist" else "thumb_pip" if (finger, part) == ("thumb", "mcp") else f"{finger}_{part}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="msra")
    parser.add_argument("--pictures", type=Path)
    arguments = parser.parse_args()
    labels = json.loads((arguments.folder / "labels.json").read_text())
    estimator = HandPoseEstimator.from_pretrained(arguments.model, device="cpu")
    tips: list[float] = []
    across: dict[str, list[float]] = {"tip": [], "mcp": [], "wrist": []}
    frames = inside = 0
    for path in sorted(arguments.folder.glob("*.png")):
        depth = read_depth(path, 0.125)
        pose = estimator.predict(depth, camera=CAMERA, hand="right")
        frames += 1
        x, y, width, height = labels[path.name]["box"]
        low, high = np.array([x, y]) - MARGIN, np.array([x + width, y + height]) + MARGIN
        inside += bool(((pose.uvz[:, :2] > low) & (pose.uvz[:, :2] < high)).all())
        for point, label in labels[path.name].get("points", {}).items():
            skin = np.array(label["xyz_surface_mm"])
            joint = pose[joint_of(point)]
            part = point.rpartition("_")[2]
            # The distance between skin and joint is known only for fingertips; compare others in the image plane.
            across[part].append(float(np.linalg.norm((joint * skin[2] / joint[2] - skin)[:2])))
            if part == "tip":
                tips.append(float(np.linalg.norm(joint - skin * (1 + BEHIND_SKIN / np.linalg.norm(skin)))))
        if arguments.pictures:
            arguments.pictures.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(arguments.pictures / path.name), pose.draw(depth))
    print(f"{inside} of {frames} images have all joints inside the labeled box")
    print(f"fingertips in 3D      mean {np.mean(tips):4.1f} mm  worst {np.max(tips):4.1f} mm  of {len(tips)} tips")
    for part, values in across.items():
        mean, worst = np.mean(values), np.max(values)
        print(f"{part:5} in the image plane  mean {mean:4.1f} mm  worst {worst:4.1f} mm  of {len(values)}")


if __name__ == "__main__":
    main()
