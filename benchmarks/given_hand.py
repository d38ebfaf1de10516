"""Measure how often the other hand of a person is predicted instead of the given one. Prints a Markdown table.

The images are single frames of synthetic sequences that show both hands, each predicted as `right` and as `left`.

python benchmarks/given_hand.py [--model msra] [--sequences 8] [--frames 40]
"""

from __future__ import annotations

import argparse
import itertools
import warnings

import numpy as np

from handpose import HandPoseEstimator, InputWarning
from handpose.io.progress import track
from handpose.synthetic.animation import CAMERA, animate_hands


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="msra")
    parser.add_argument("--sequences", type=int, default=8)
    parser.add_argument("--frames", type=int, default=40)
    arguments = parser.parse_args()

    warnings.simplefilter("ignore", InputWarning)
    estimator = HandPoseEstimator.from_pretrained(arguments.model, device="cpu")
    predicted = {side: dict.fromkeys(("given", "other", "none"), 0) for side in ("right", "left")}
    for seed in track(range(arguments.sequences), "predicting", arguments.sequences):
        for frame in itertools.islice(animate_hands(estimator.layout, fps=8.0, seed=seed), arguments.frames):
            for index, side in enumerate(predicted):
                pose = estimator.predict(frame.depth, camera=CAMERA, hand=side)  # type: ignore[arg-type]
                distances = np.linalg.norm((pose.xyz - frame.xyz).mean(axis=1), axis=-1)
                outcome = "none" if pose.status == "no_hand" else "given" if distances.argmin() == index else "other"
                predicted[side][outcome] += 1
    print("| `hand` | images | given hand | other hand | no hand |\n|---|---|---|---|---|")
    for side, counts in predicted.items():
        total = sum(counts.values())
        print(f"| `{side}` | {total} | " + " | ".join(f"{count / total:.1%}" for count in counts.values()) + " |")


if __name__ == "__main__":
    main()
