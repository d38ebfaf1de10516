"""Measure the throughput on a folder of depth files, and that of reading alone with the same threads.

Prints a Markdown table.

python benchmarks/folder.py [--frames 400] [--batch 16] [--device auto]
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from handpose import Camera, HandPoseEstimator, Query, read_depth
from handpose.jobs.pipeline import predict_files

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=400)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    camera = Camera.parse(str(EXAMPLES / "camera.json"))
    estimator = HandPoseEstimator.from_pretrained("msra", device=arguments.device)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        files = [Path(folder) / f"{i:06}.png" for i in range(arguments.frames)]
        for i, file in enumerate(files):
            shutil.copyfile(EXAMPLES / ("open.png", "thumb.png", "down.png")[i % 3], file)
        ways: dict[str, Callable[[list[Path]], Iterable[object]]] = {
            "read, all threads": lambda files: pool.map(read_depth, files),
            "read and crop, all threads": lambda files: pool.map(
                lambda file: estimator.find(read_depth(file), Query(camera=camera, hand="right")), files
            ),
            "file by file": lambda files: (estimator.predict(file, camera=camera, hand="right") for file in files),
            "predict_files": lambda files: predict_files(
                estimator, files, Query(camera=camera, hand="right"), batch_size=arguments.batch
            ),
            "predict_files, sides predicted": lambda files: predict_files(
                estimator, files, Query(camera=camera), batch_size=arguments.batch
            ),
        }
        print("| 640 x 480 PNG files | frames per second | CPU ms per frame |\n|---|---|---|")
        for name, way in ways.items():
            list(way(files[:32]))
            begin, worked = time.perf_counter(), time.process_time()
            list(way(files))
            seconds, worked = time.perf_counter() - begin, time.process_time() - worked
            print(f"| {name} | {len(files) / seconds:.1f} | {1000 * worked / len(files):.1f} |", flush=True)


if __name__ == "__main__":
    main()
