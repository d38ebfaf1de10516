"""Train your own weights on synthetic hands, write a model folder, and use it. Requires the extra `train`.

python examples/your_own_training.py [FOLDER [STEPS]]

The default number of steps only demonstrates the workflow. Useful weights take hours on two cores; docs/training.md
describes the settings. The first run generates the hand model and its poses, which takes about seven minutes.
"""

from __future__ import annotations

import sys
from pathlib import Path

from handpose import (
    Camera,
    HandPoseEstimator,
    JGRP2OConfig,
    TrainingConfig,
    find_weights,
    synthetic_task,
    train,
    write_model,
)

HERE = Path(__file__).parent
given = dict(enumerate(sys.argv))
folder, steps = Path(given.get(1, "runs/example")), int(given.get(2, 10))

config = TrainingConfig(steps=steps, batch=8, optimizer="adam", learning_rate=1e-4)
task = synthetic_task(
    JGRP2OConfig("icvl"),  # the joint layout
    config,
    "cpu",  # or "cuda"
    start=find_weights("msra"),  # optional: initialize with weights of any layout
)
train(folder / "run", task, report=print)  # saves checkpoints; run the script again to resume
write_model(folder / "run", folder / "model")

estimator = HandPoseEstimator.from_pretrained(folder / "model")
pose = estimator.predict(HERE / "open.png", camera=Camera.parse(str(HERE / "camera.json")))
print(pose.layout.name, pose.status, pose["index_tip"].round(1))
