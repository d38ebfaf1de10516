"""Compare tracking with single-frame prediction on synthetic sequences. Requires the extra `train`.

Prints a Markdown table. The error is the mean distance between predicted and true joints. The jitter is the mean
change of the error vector between consecutive frames. Both are in mm, over all joints and all frames in which a hand
was found.

python benchmarks/tracking.py [--model msra] [--sequences 6] [--frames 240]
"""

from __future__ import annotations

import argparse
import itertools
import math
import time

import numpy as np

from handpose.inference.estimator import HandPoseEstimator
from handpose.inference.tracker import HandTracker, OneEuro
from handpose.synthetic.animation import CAMERA, animate

FIRST_SEED = 200  # the default smoothing parameters were chosen on seeds 100 to 105


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="msra")
    parser.add_argument("--sequences", type=int, default=6)
    parser.add_argument("--frames", type=int, default=240)
    arguments = parser.parse_args()

    estimator = HandPoseEstimator.from_pretrained(arguments.model, device="cpu")
    kinds = ("single frames", "tracking without smoothing", "tracking with smoothing")
    rows: dict[str, list[tuple[float, ...]]] = {kind: [] for kind in kinds}
    for seed in range(FIRST_SEED, FIRST_SEED + arguments.sequences):
        frames = list(itertools.islice(animate(estimator.layout, seed=seed), arguments.frames))
        trackers = [
            HandTracker(estimator, hand="right", smoothing=s) for s in (OneEuro(min_cutoff=math.inf), OneEuro())
        ]
        nothing = np.full((len(estimator.layout), 3), np.nan)
        errors: dict[str, list[np.ndarray]] = {kind: [] for kind in kinds}
        taken = dict.fromkeys(kinds, 0.0)
        ids = set()
        for frame in frames:
            for kind in kinds:
                begin = time.perf_counter()
                if kind == kinds[0]:
                    found = estimator.predict(frame.depth, camera=CAMERA, hand="right").xyz
                else:
                    hands = trackers[kinds.index(kind) - 1].update(frame.depth, CAMERA, frame.time)
                    found = hands[0].pose.xyz if hands else nothing
                    ids |= {hand.id for hand in hands}
                taken[kind] += time.perf_counter() - begin
                errors[kind].append(found - frame.xyz)
        for kind in kinds:
            error = np.array(errors[kind])
            length, change = (np.nanmean(np.linalg.norm(e, axis=-1)) for e in (error, np.diff(error, axis=0)))
            missing = np.isnan(error[:, 0, 0]).sum()
            rows[kind].append((length, change, missing, 1000 * taken[kind] / len(frames)))
        print(f"seed {seed}: error {rows[kinds[0]][-1][0]:.2f} -> {rows[kinds[2]][-1][0]:.2f}, "
              f"jitter {rows[kinds[0]][-1][1]:.2f} -> {rows[kinds[2]][-1][1]:.2f}, ids {sorted(ids)}")  # fmt: skip

    print(f"\n{arguments.model}, {arguments.sequences} sequences of {arguments.frames} frames\n")
    print("| | error, mm | jitter, mm | frames without a hand | ms per frame |\n|---|---|---|---|---|")
    for kind in kinds:
        error, jitter, missing, ms = np.array(rows[kind]).T
        print(f"| {kind} | {error.mean():.2f} | {jitter.mean():.2f} | {missing.sum():.0f} | {ms.mean():.1f} |")


if __name__ == "__main__":
    main()
