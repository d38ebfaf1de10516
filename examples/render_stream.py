"""Render `hand.mcap`, a moving hand with its true joints; `hand.hpr` is the same in an older format. Requires `train`.

python examples/render_stream.py
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np

from handpose.geometry.camera import Camera
from handpose.geometry.layouts import MSRA21
from handpose.recordings.frame import DepthFrame
from handpose.recordings.mcap import Recorder
from handpose.synthetic.animation import animate

CAMERA = Camera(210.0, 210.0, 111.5, 85.5, 224, 172)
FRAMES, SEED = 45, 1


def main() -> None:
    folder = Path(__file__).parent
    recorder = Recorder(folder / "hand.mcap")
    truth = []
    for depth, xyz, time in itertools.islice(animate(MSRA21, camera=CAMERA, seed=SEED), FRAMES):
        recorder.write(DepthFrame(depth, CAMERA, time))
        truth.append(np.round(xyz, 1).tolist())
    recorder.close()
    (folder / "hand.truth.json").write_text(json.dumps({"joints": MSRA21.joints, "xyz_mm": truth}) + "\n")


if __name__ == "__main__":
    main()
