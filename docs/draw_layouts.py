"""Draw `docs/images/layouts.png`: the numbered joints of each layout on the palm side of a right hand.

python docs/draw_layouts.py
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from handpose.geometry.layouts import FINGERS, LAYOUTS, JointLayout
from handpose.results.overlay import FINGER_COLORS

WIDTH, HEIGHT, SCALE = 620, 760, 2
# A schematic hand in px: the base and the tip of each finger, and the positions of its joints in between (0 to 1).
ROOTS = {"thumb": (370, 560), "index": (382, 400), "middle": (325, 385), "ring": (270, 395), "pinky": (220, 425)}
TIPS = {"thumb": (520, 400), "index": (420, 160), "middle": (332, 110), "ring": (245, 150), "pinky": (140, 235)}
PARTS = {
    "icvl": {"root": 0.12, "mid": 0.56, "tip": 1.0},
    "nyu": {"root": 0.1, "mid": 0.5, "tip": 1.0},
    "msra": {"mcp": 0.0, "pip": 0.42, "dip": 0.72, "tip": 1.0},
}
PALM = {"wrist": (300, 650), "palm": (305, 520), "wrist_ulnar": (255, 640), "wrist_radial": (345, 640)}


def places(layout: JointLayout) -> np.ndarray:
    """Return the positions of the joints on the schematic hand, (J, 2) px."""
    points = []
    for joint in layout.joints:
        finger, _, part = joint.partition("_")
        if finger in ROOTS:
            share = PARTS[layout.name][part]
            points.append(np.array(ROOTS[finger]) * (1 - share) + np.array(TIPS[finger]) * share)
        else:
            points.append(np.array(PALM[joint]))
    return np.array(points)


def draw(layout: JointLayout) -> np.ndarray:
    """Draw one layout and return the picture, (H, W, 3) uint8 BGR."""
    picture = np.full((HEIGHT * SCALE, WIDTH * SCALE, 3), 255, np.uint8)

    def at(point: np.ndarray) -> tuple[int, int]:
        return int(point[0] * SCALE), int(point[1] * SCALE)

    skin = (222, 226, 236)
    palm = np.array([(245, 690), (205, 430), (260, 385), (330, 370), (400, 395), (385, 560), (355, 690)]) * SCALE
    cv2.fillPoly(picture, [palm], skin, cv2.LINE_AA)
    for finger in FINGERS:
        cv2.line(picture, at(ROOTS[finger]), at(TIPS[finger]), skin, 52 * SCALE, cv2.LINE_AA)
    points = places(layout)
    colors = [(90, 90, 90)] * len(layout)
    for finger, joints in layout.fingers.items():
        for joint in joints:
            colors[joint] = FINGER_COLORS[finger]
    for parent, child in layout.bones:
        cv2.line(picture, at(points[parent]), at(points[child]), colors[child], 5 * SCALE, cv2.LINE_AA)
    for joint, point in enumerate(points):
        cv2.circle(picture, at(point), 15 * SCALE, colors[joint], -1, cv2.LINE_AA)
        text = str(joint)
        (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5 * SCALE, SCALE)
        corner = (at(point)[0] - width // 2, at(point)[1] + height // 2)
        cv2.putText(picture, text, corner, cv2.FONT_HERSHEY_SIMPLEX, 0.5 * SCALE, (255, 255, 255), SCALE, cv2.LINE_AA)
    title = f"{layout.name}: {len(layout)} joints"
    cv2.putText(
        picture,
        title,
        (20 * SCALE, 45 * SCALE),
        cv2.FONT_HERSHEY_SIMPLEX,
        0.9 * SCALE,
        (40, 40, 40),
        2 * SCALE,
        cv2.LINE_AA,
    )
    return cv2.resize(picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)


if __name__ == "__main__":
    picture = np.hstack([draw(layout) for layout in LAYOUTS.values()])
    cv2.imwrite(str(Path(__file__).parent / "images" / "layouts.png"), picture)
