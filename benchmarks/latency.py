"""Where the milliseconds of one prediction go, on this machine, as a Markdown table.

python benchmarks/latency.py [--threads 2] [--repeats 100]
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch

from handpose import Camera, HandCrop, HandPoseEstimator, localize_hands, read_depth

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def median_ms(call: Callable[[], object], repeats: int) -> float:
    """The median duration of `call`, after a warm-up."""
    for _ in range(5):
        call()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return 1000.0 * float(np.median(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=100)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(arguments.threads)

    camera = Camera.parse(str(EXAMPLES / "camera.json"))
    estimator = HandPoseEstimator.from_pretrained("msra", device="cpu")
    file = EXAMPLES / "open.png"
    depth = read_depth(file)
    center = localize_hands(depth, camera)[0]
    patch = HandCrop.cut(depth, camera, center, estimator.config.cube).patch[None, None]
    batch = patch.repeat(64, axis=0)

    print(f"{platform.processor() or platform.machine()}, {arguments.threads} threads, torch {torch.__version__}\n")
    print("| Step | median ms |\n|---|---|")
    for name, call in {
        "read a 640 x 480 PNG": lambda: read_depth(file),
        "localise": lambda: localize_hands(depth, camera),
        "crop": lambda: HandCrop.cut(depth, camera, center, estimator.config.cube),
        "network, one patch": lambda: estimator.predict_patches(patch),
        "array to HandPose, all together": lambda: estimator.predict(depth, camera=camera),
        "network, per patch of a batch of 64": lambda: estimator.predict_patches(batch),
    }.items():
        share = 64 if "batch" in name else 1
        print(f"| {name} | {median_ms(call, arguments.repeats // (8 if share > 1 else 1)) / share:.2f} |")


if __name__ == "__main__":
    main()
