"""Write a data set of synthetic hands in NYU's format, to test training, evaluation and reports end to end.

    python benchmarks/rendered_nyu.py FOLDER [TRAINING_FRAMES TEST_FRAMES]

The hand shapes and poses of the test frames differ from those of the training frames, as in
`handpose.synthetic.testset`.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from handpose.datasets.nyu import write_nyu
from handpose.geometry.camera import CAMERAS, Camera
from handpose.geometry.layouts import NYU14
from handpose.synthetic.hand_file import cached_hand_file
from handpose.synthetic.hand_model import HandModel
from handpose.synthetic.hands import SceneRange, SyntheticHands
from handpose.synthetic.poses import cached_pose_bank
from handpose.synthetic.testset import testset_hand

NYU = CAMERAS["nyu"]
ROUND = Camera(NYU.fx, NYU.fx, NYU.cx, NYU.cy, NYU.width, NYU.height)  # the renderer requires fx = fy
SCENES = SceneRange(distance=(500.0, 900.0), half_view=(0.2, 0.15))


def frames(count: int, split: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield depth (480, 640) and joints (14, 3) in mm of hands with at least a third of their front side visible."""
    if split == "train":
        hand, seed = HandModel(cached_hand_file()), 1
        poses = cached_pose_bank(hand)
    else:
        hand, poses, seed = *testset_hand(), 2
    source = SyntheticHands(hand, poses, NYU14, cube=250.0, uv_scale=95.0, scenes=SCENES, seed=seed)
    while count:
        with torch.inference_mode():
            depth, xyz, seen = source.frames(8, ROUND)
        for i in (seen > 1 / 3).nonzero()[:count, 0].tolist():
            yield depth[i].numpy(), xyz[i].double().numpy()
            count -= 1


folder = Path(sys.argv[1])
train, test = (int(word) for word in sys.argv[2:4]) if len(sys.argv) > 2 else (2000, 500)
for split, count in (("train", train), ("test", test)):
    print(f"{folder}: {write_nyu(folder, split, frames(count, split))} {split} frames")  # type: ignore[arg-type]
