"""Measure the cost of a second hand, of a side that is not known and of several views. Prints a Markdown table.

All cases run in turn, so that the ratios also hold on a busy machine. The time is the median over all rounds; the CPU
time does not depend on other processes, but adds up the time of all threads.

python benchmarks/hands.py [--model msra] [--backend auto] [--rounds 50]
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from handpose import Camera, HandPoseEstimator, HandTracker, localize_hands, read_depth
from handpose.geometry.crop import HandCrop

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SHIFT = 120  # px, which separates the two hands by about 240 mm
WARMUP_ROUNDS = 12  # until the trackers have decided which hands they see


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="msra")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--rounds", type=int, default=50)
    arguments = parser.parse_args()

    camera = Camera.parse(str(EXAMPLES / "camera.json"))
    estimator = HandPoseEstimator.from_pretrained(arguments.model, backend=arguments.backend, device="cpu")
    one = read_depth(EXAMPLES / "open.png")
    right = np.pad(one[:, SHIFT:], ((0, 0), (0, SHIFT)))
    left = right[:, ::-1]
    two = np.where((right > 0) & ((left == 0) | (right < left)), right, left)
    patch = HandCrop.cut(one, camera, localize_hands(one, camera)[0], estimator.config.cube).patch[None, None]

    def with_views(call: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            estimator.views = 4
            call()
            estimator.views = 1

        return run

    def tracker(depth: np.ndarray, **options: object) -> Callable[[], object]:
        hands, frames = HandTracker(estimator, **options), itertools.count()  # type: ignore[arg-type]
        return lambda: hands.update(depth, camera, next(frames) / 30)

    groups: dict[str, dict[str, Callable[[], object]]] = {
        "network": {
            f"{size} crops": lambda size=size: estimator.predict_patches(patch.repeat(size, axis=0))  # type: ignore[misc]
            for size in (1, 2, 4)
        },
        "`predict`": {
            "one hand": lambda: estimator.predict(one, camera=camera, hand="right"),
            "one hand, side predicted": lambda: estimator.predict(one, camera=camera),
            "one hand, `views=4`": with_views(lambda: estimator.predict(one, camera=camera, hand="right")),
        },
        "`predict_hands`": {
            "one hand": lambda: estimator.predict_hands(one, camera=camera, hand="right"),
            "one hand, side predicted": lambda: estimator.predict_hands(one, camera=camera),
            "two hands, sides predicted": lambda: estimator.predict_hands(two, camera=camera),
        },
        "`HandTracker`": {
            "one hand": tracker(one, hand="right"),
            "one hand, `max_hands=2`": tracker(one, max_hands=2, hand="right"),
            "one hand, side predicted": tracker(one),
            "two hands, sides predicted": tracker(two, max_hands=2),
            "one hand, `views=4`": with_views(tracker(one, hand="right")),
        },
    }
    cases = [(group, name, call) for group, calls in groups.items() for name, call in calls.items()]
    seconds = np.zeros((arguments.rounds, len(cases), 2))
    for number in range(-WARMUP_ROUNDS, arguments.rounds):
        for i, (_, _, call) in enumerate(cases):
            start = time.perf_counter(), time.process_time()
            call()
            if number >= 0:
                seconds[number, i] = time.perf_counter() - start[0], time.process_time() - start[1]
    median = dict(zip([case[:2] for case in cases], 1000.0 * np.median(seconds, axis=0), strict=True))
    print("| | | ms | ratio | CPU ms | ratio |\n|---|---|---|---|---|---|")
    for group, name, _ in cases:
        (wall, cpu), first = median[group, name], median[group, next(iter(groups[group]))]
        print(f"| {group} | {name} | {wall:.1f} | {wall / first[0]:.2f} | {cpu:.1f} | {cpu / first[1]:.2f} |")


if __name__ == "__main__":
    main()
