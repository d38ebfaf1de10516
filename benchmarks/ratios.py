"""Measure how the time of a prediction, and that of reading a PNG, compare with the bare network and with OpenCV.

    python benchmarks/ratios.py [--model msra] [--backend onnxruntime] [--rounds 12] [--json OUT]

In each round, every case runs in a block of its own after a rest, because the idle threads of one case would slow down
the next one. Times are medians over all calls. Ratios are medians over the rounds, with the lowest and the highest one.
With `OMP_NUM_THREADS=1`, the CPU time is measured, which other processes affect less than the elapsed time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from handpose import Camera, HandPoseEstimator, Query, read_depth

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
CALLS = 10  # per block
REST = 0.05  # s, before a block


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="msra")
    parser.add_argument("--backend", default="onnxruntime")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    clock = time.process_time if os.environ.get("OMP_NUM_THREADS") == "1" else time.perf_counter

    camera = Camera.parse(str(EXAMPLES / "camera.json"))
    file, real = EXAMPLES / "open.png", EXAMPLES / "sr305" / "open.png"
    depth = read_depth(file)
    floating, integer = (
        HandPoseEstimator.from_pretrained(options.model, backend=options.backend, precision=precision, device="cpu")
        for precision in ("float32", "int8")
    )
    crop = floating.find(depth, Query(camera, hand="right")).crops[0]
    patch = np.ascontiguousarray(crop.patch[None, None])
    # The base of each ratio precedes the cases that are compared with it.
    groups: dict[str, dict[str, Callable[[], object]]] = {
        "one image": {
            "network": lambda: floating.predict_patches(patch),
            "localize": lambda: floating.localize_hands(depth, camera),
            "array to `HandPose`": lambda: floating.predict(depth, camera=camera, hand="right"),
            "array to `HandPose`, side predicted": lambda: floating.predict(depth, camera=camera),
            "array to `HandPose`, hand center given": lambda: floating.predict(
                depth, camera=camera, center=crop.center, hand="right"
            ),
            "network, int8": lambda: integer.predict_patches(patch),
            "array to `HandPose`, int8": lambda: integer.predict(depth, camera=camera, hand="right"),
        },
        "synthetic PNG": {
            "`cv2.imread`": lambda: cv2.imread(str(file), cv2.IMREAD_UNCHANGED),
            "`read_depth`": lambda: read_depth(file),
        },
        "PNG of an SR305": {
            "`cv2.imread`": lambda: cv2.imread(str(real), cv2.IMREAD_UNCHANGED),
            "`read_depth`": lambda: read_depth(real, 0.125),
        },
    }
    cases = {(group, name): call for group, calls in groups.items() for name, call in calls.items()}
    blocks: dict[tuple[str, str], list[list[float]]] = {case: [] for case in cases}
    for turn in range(options.rounds + 1):
        for case, call in cases.items():
            time.sleep(REST)
            call()
            block = []
            for _ in range(CALLS):
                start = clock()
                call()
                block.append(clock() - start)
            if turn:  # the first round is a warm-up
                blocks[case].append(block)
    rows = []
    print("| | | ms | ratio | lowest | highest |\n|---|---|---|---|---|---|")
    for (group, name), own in blocks.items():
        base = blocks[group, next(iter(groups[group]))]
        ratios = [statistics.median(a) / statistics.median(b) for a, b in zip(own, base, strict=True)]
        ms = 1000.0 * statistics.median(time for block in own for time in block)
        row = {"group": group, "case": name, "ms": ms, "ratio": statistics.median(ratios)}
        row |= {"lowest": min(ratios), "highest": max(ratios)}
        rows.append(row)
        print(f"| {group} | {name} | {ms:.2f} | {row['ratio']:.2f} | {row['lowest']:.2f} | {row['highest']:.2f} |")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
