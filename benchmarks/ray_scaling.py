"""Measure how Ray scales from one worker to two, and extrapolate to millions of frames.

Prints three Markdown tables.

OMP_NUM_THREADS=1 python benchmarks/ray_scaling.py [--shards 16] [--core-hour 0.04]
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import ray

from handpose import Camera, HandPoseEstimator, Query
from handpose.io.depth.read import decode_depth
from handpose.jobs.cluster.engine import predict_shards
from handpose.jobs.cluster.output import ShardedOutput
from handpose.jobs.cluster.shards import FILES_PER_SHARD, find_shards
from handpose.jobs.job import PredictOptions, model_settings
from handpose.jobs.pipeline import predict_files
from handpose.results.records import Record
from handpose.results.table import encode_parquet, to_table

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
FRAMES = [EXAMPLES / name for name in ("open.png", "thumb.png", "down.png")]
CAMERA = Camera.parse(str(EXAMPLES / "camera.json"))
OPTIONS = PredictOptions("msra", Query(camera=CAMERA, hand="right"), device="cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=16)
    parser.add_argument("--core-hour", type=float, default=0.04, help="price of one core-hour in dollars")
    arguments = parser.parse_args()

    stages, frame_bytes, row_bytes = measure_stages()
    total = sum(stages.values())
    print("| stage, on one core | ms per frame |\n|---|---|")
    for name, seconds in [*stages.items(), ("total", total)]:
        print(f"| {name} | {1000 * seconds:.2f} |")
    print(f"\n{frame_bytes / 1000:.0f} kB read and {row_bytes / 1000:.2f} kB written per frame\n", flush=True)

    print("| | frames per second | per core |\n|---|---|---|")
    rate = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for i in range(arguments.shards * FILES_PER_SHARD):
            shutil.copyfile(FRAMES[i % 3], Path(folder) / f"{i:06}.png")
        for cores, name, measure in (
            (1, "`predict_files` on one core, without Ray", measure_here),
            (1, "Ray on one core, one worker", measure_workers),
            (2, "Ray on two cores, two workers", measure_workers),
        ):
            os.sched_setaffinity(0, range(cores))  # child processes inherit the affinity
            rate = measure(folder, cores)
            print(f"| {name} | {rate:.0f} | {rate / cores:.0f} |", flush=True)

    per_core = rate / 2
    print(f"\n| frames | core-hours | hours on 1,000 cores | cost | read | written |\n{'|---' * 6}|")
    for frames in (10**6, 10**8, 10**10):
        hours = frames / per_core / 3600
        print(
            f"| {frames:,} | {hours:,.1f} | {hours / 1000:,.2f} | {hours * arguments.core_hour:,.2f} "
            f"| {frames * frame_bytes / 1e12:,.2f} TB | {frames * row_bytes / 1e12:,.3f} TB |"
        )


def measure_stages() -> tuple[dict[str, float], float, float]:
    """Measure the stages in this thread.

    Returns:
        The time of each stage in s per frame, the bytes read per frame, and the bytes written per frame.
    """
    estimator = HandPoseEstimator.from_pretrained("msra", device="cpu")
    data = [FRAMES[i % 3].read_bytes() for i in range(48)]
    names = [f"{i}.png" for i in range(48)]
    noise = np.random.default_rng(0)  # makes all rows different, as in real data
    depths = [decode_depth(one, name) for one, name in zip(data, names, strict=True)]
    depths = [np.where(depth > 0, depth + noise.normal(0.0, 1.0, depth.shape), 0.0).astype("f4") for depth in depths]
    query = Query(camera=CAMERA, hand="right")
    found = [estimator.find(depth, query, source=name) for depth, name in zip(depths, names, strict=True)]

    def network() -> list[Record]:
        return [pose for i in range(0, 48, 16) for pose in estimator.poses(found[i : i + 16])]

    records = network()
    stages: dict[str, Callable[[], object]] = {
        "decode PNG": lambda: [decode_depth(one, name) for one, name in zip(data, names, strict=True)],
        "localize and crop": lambda: [estimator.find(depth, query) for depth in depths],
        "network and decode": network,
        "table": lambda: encode_parquet(to_table(records)),
    }
    seconds = {name: statistics.median(_seconds(stage) for _ in range(7)) / 48 for name, stage in stages.items()}
    return seconds, sum(map(len, data)) / 48, len(encode_parquet(to_table(records))) / 48


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def measure_here(folder: str, cores: int) -> float:
    """Return the frames per second of `predict_files` in this process."""
    estimator = HandPoseEstimator.from_pretrained("msra", device="cpu")
    files = sorted(Path(folder).iterdir())[: 4 * FILES_PER_SHARD]
    return len(files) / _seconds(
        lambda: list(predict_files(estimator, files, Query(camera=CAMERA, hand="right"), threads=cores))
    )


def measure_workers(folder: str, cores: int) -> float:
    """Return the frames per second of Ray, measured after the first quarter of the shards to exclude startup."""
    shards = find_shards([folder])
    # By default, Ray keeps no more idle processes than there are cores. With one or two cores, it would terminate and
    # restart the reader and writer processes for every shard, which does not happen on larger machines.
    os.environ.setdefault("RAY_num_workers_soft_limit", "8")
    ray.init(address="local", num_cpus=cores, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    with tempfile.TemporaryDirectory() as out:
        output = ShardedOutput(out, {}, shards, resume=False, force=True)
        model = model_settings(OPTIONS.load_estimator())
        finished = predict_shards(shards, output, OPTIONS, model, workers=cores)
        done = [(time.perf_counter(), shard.rows) for shard in finished]
    ray.shutdown()
    done = done[len(done) // 4 :]
    return sum(rows for _, rows in done[1:]) / (done[-1][0] - done[0][0])


if __name__ == "__main__":
    main()
