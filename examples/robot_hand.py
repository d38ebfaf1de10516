"""Retarget the hand in a recording to a robot hand with dex-retargeting, and print the robot's joint angles.

pip install dex-retargeting
git clone https://github.com/dexsuite/dex-urdf
python examples/robot_hand.py dex-urdf/robots/hands [RECORDING]

The robot is an Allegro hand, and the default recording is the one in this folder.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

from handpose import HandPoseEstimator, HandTracker, open_source

try:
    from dex_retargeting.constants import HandType, RetargetingType, RobotName, get_default_config_path
    from dex_retargeting.retargeting_config import RetargetingConfig
except ModuleNotFoundError:
    sys.exit("this example requires dex-retargeting: pip install dex-retargeting")

if len(sys.argv) < 2:
    sys.exit(__doc__)
urdf_folder = Path(sys.argv[1])
source = sys.argv[2] if len(sys.argv) > 2 else str(Path(__file__).parent / "hand.hpr")
RetargetingConfig.set_default_urdf_dir(str(urdf_folder))
path = get_default_config_path(RobotName.allegro, RetargetingType.vector, HandType.right)
retargeting = RetargetingConfig.load_from_file(path).build()
# Which joints of MediaPipe's hand the robot imitates: vectors from the first row to the second.
origins, targets = retargeting.optimizer.target_link_human_indices

tracker = HandTracker(HandPoseEstimator.from_pretrained("msra"), hand="right")
print("time s ", *(f"{name:>10}" for name in retargeting.joint_names))
for frame in itertools.islice(open_source(source), 45):
    for hand in tracker.update(frame.depth, frame.camera, frame.time):
        keypoints = hand.pose.keypoints("mediapipe", unit="m", frame="operator").xyz
        angles = retargeting.retarget(keypoints[targets] - keypoints[origins])
        print(f"{frame.time:7.2f}", *(f"{angle:10.2f}" for angle in angles))
