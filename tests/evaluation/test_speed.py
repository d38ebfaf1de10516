from __future__ import annotations

import json
import subprocess
import sys
import time

import numpy as np
import pytest

from handpose import Camera, HandPoseError
from handpose.evaluation.speed import _timing, machine, measure
from tests.helpers.paths import EXAMPLES

CAMERA = Camera.parse(str(EXAMPLES / "camera.json"))


def test_a_sleep_takes_as_long_as_it_sleeps() -> None:
    durations = iter([0.0] * 5 + [0.02] * 9 + [0.08])  # the first five warm up
    timing = _timing("torch", "network", 4, lambda: time.sleep(next(durations)), 10)
    assert 20.0 <= timing.p50_ms < 30.0
    assert 50.0 <= timing.p95_ms < 90.0
    assert timing.per_second == pytest.approx(4000.0 / timing.p50_ms, rel=0.01)


def test_an_image_without_a_hand_cannot_be_timed(tmp_path) -> None:
    np.save(tmp_path / "empty.npy", np.zeros((480, 640), np.uint16))
    with pytest.raises(HandPoseError, match="an image with a hand"):
        measure(tmp_path / "empty.npy", model="msra", backend="torch", device="cpu", camera=CAMERA, unit="mm",
                batch_sizes=[1], repeats=1)  # fmt: skip


def test_the_command_times_every_stage_of_every_batch() -> None:
    arguments = ["benchmark", str(EXAMPLES / "open.png"), "-c", str(EXAMPLES / "camera.json"), "--backend", "torch",
                 "--batch-size", "1", "--batch-size", "2", "--repeats", "10", "--json"]  # fmt: skip
    done = subprocess.run([sys.executable, "-m", "handpose", *arguments], capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)
    stages = [(row["stage"], row["batch"]) for row in report["timings"]]
    assert sorted(stages) == sorted(
        [("read", 1), ("localise", 1), ("crop", 1)] + [(s, n) for s in ("decode", "network", "whole") for n in (1, 2)]
    )
    times = {(row["stage"], row["batch"]): row["p50_ms"] for row in report["timings"]}
    assert times["whole", 1] > times["network", 1] / 2  # the whole holds the network; a busy machine may be uneven
    assert 100.0 < report["peak_memory_mb"]["torch"] < 10_000.0
    assert report["machine"]["torch"] == machine()["torch"]
