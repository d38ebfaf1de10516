"""Your own weights: train on rendered hands, write a model folder, and use it. Needs the extra `train`.

python examples/your_own_training.py [FOLDER [STEPS]]

The default number of steps shows that it runs; 16,000 make useful weights in about two hours on two cores.
The first time, the hand and its poses are made, which takes two minutes.
"""

from __future__ import annotations

import sys
from pathlib import Path

from handpose import Camera, HandPoseEstimator
from handpose.config import JGRP2OConfig
from handpose.synthetic_training import train_synthetic
from handpose.training import TrainingConfig, write_model
from handpose.weights import find_weights

HERE = Path(__file__).parent
given = dict(enumerate(sys.argv))
folder, steps = Path(given.get(1, "runs/example")), int(given.get(2, 10))

train_synthetic(
    folder / "run",  # holds the checkpoints; run again to go on
    JGRP2OConfig("icvl"),  # which joints
    TrainingConfig(steps=steps, batch=8, learning_rate=1e-4),
    "cpu",  # or "cuda"
    report=print,
    start=find_weights("msra"),  # begin with weights of any layout, or leave this out
)
write_model(folder / "run", folder / "model")

estimator = HandPoseEstimator.from_pretrained(folder / "model")
pose = estimator.predict(HERE / "open.png", camera=Camera.parse(str(HERE / "camera.json")))
print(pose.layout.name, pose.status, pose["index_tip"].round(1))
