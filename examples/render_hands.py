"""Render the depth images in this folder, along with their true joints. Requires the extra `train`.

python examples/render_hands.py
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from handpose.geometry.camera import Camera
from handpose.geometry.layouts import MSRA21
from handpose.synthetic.hand_file import cached_hand_file
from handpose.synthetic.hand_model import HandModel
from handpose.synthetic.hands import SceneRange, SyntheticHands
from handpose.synthetic.poses import cached_pose_bank

CAMERA = Camera(476.0, 476.0, 319.5, 239.5, 640, 480)
SCENES = SceneRange(
    distance=(420.0, 560.0),
    half_view=(0.25, 0.18),
    upright=1.0,
    body=0.8,
    table=0.0,
    held=0.0,
    occluder=0.0,
    second_hand=0.0,
)
SEED = 20
CHOSEN = {"open": 42, "thumb": 4, "down": 31}  # indices in the rendered batch


def main() -> None:
    folder = Path(__file__).parent
    hand = HandModel(cached_hand_file())
    source = SyntheticHands(
        hand, cached_pose_bank(hand)[:1000], MSRA21, cube=250.0, uv_scale=95.0, scenes=SCENES, seed=SEED
    )
    depth, xyz, _ = source.frames(48, CAMERA)
    for name, index in CHOSEN.items():
        cv2.imwrite(str(folder / f"{name}.png"), depth[index].round().numpy().astype(np.uint16))
        truth = {"joints": MSRA21.joints, "xyz_mm": np.round(xyz[index].numpy(), 2).tolist()}
        (folder / f"{name}.truth.json").write_text(json.dumps(truth) + "\n")
    (folder / "camera.json").write_text(json.dumps(CAMERA.to_dict()) + "\n")


if __name__ == "__main__":
    main()
