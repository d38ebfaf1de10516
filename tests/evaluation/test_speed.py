from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from handpose import Camera, HandPoseError, HandPoseEstimator
from handpose.evaluation.speed import benchmark, machine, measure, time_calls
from tests.helpers.command import CAMERA, OPEN, run
from tests.helpers.deadly import Deadly
from tests.helpers.paths import EXAMPLES

INTRINSICS = Camera.parse(str(EXAMPLES / "camera.json"))


def test_calls_are_timed_after_a_warm_up() -> None:
    now = 0.0
    durations = itertools.chain([100.0] * 5, [0.02] * 9, [0.08])

    def call() -> None:
        nonlocal now
        now += next(durations)

    assert time_calls(call, 10, lambda: now) == pytest.approx([0.02] * 9 + [0.08])


def test_timings_are_percentiles_of_the_calls(small_model: Path) -> None:
    ticks = itertools.count()
    estimator = HandPoseEstimator.from_pretrained(small_model, backend="torch", device="cpu")
    settings = {"batch_sizes": [4], "repeats": 1, "clock": lambda: 0.02 * next(ticks)}
    timings = measure(estimator, OPEN, camera=INTRINSICS, unit="mm", **settings)  # type: ignore[arg-type]
    assert {timing.stage for timing in timings} == {"read", "localize", "crop", "decode", "network", "whole"}
    for timing in timings:
        assert timing.batch == (1 if timing.stage in ("read", "localize", "crop") else 4)
        assert (timing.p50_ms, timing.p95_ms) == (20.0, 20.0)
        assert timing.per_second == 50.0 * timing.batch


def test_every_view_passes_through_the_network(small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    estimator = HandPoseEstimator.from_pretrained(small_model, backend="torch", device="cpu", views=2)
    batches, pose = [], estimator._runtime.pose
    monkeypatch.setattr(estimator._runtime, "pose", lambda patches: batches.append(len(patches)) or pose(patches))
    measure(estimator, OPEN, camera=INTRINSICS, unit="mm", batch_sizes=[3], repeats=1)
    assert batches.count(6) == 2 * (5 + 10)  # `network` and `whole`, each with 5 warm-up calls and 10 repeats


def test_an_image_without_a_hand_cannot_be_measured(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")  # which starts in less time than PyTorch
    np.save(tmp_path / "empty.npy", np.zeros((480, 640), np.uint16))
    code, _, err = run("benchmark", tmp_path / "empty.npy", *CAMERA, "--backend", "onnxruntime")
    assert (code, "an image with a hand" in err) == (2, True)


def test_the_command_measures_every_stage_and_batch_size() -> None:
    arguments = ["--backend", "torch", "--batch-size", 1, "--batch-size", 2]
    code, out, _ = run("benchmark", OPEN, *CAMERA, *arguments, "--repeats", 10, "--json")
    assert code == 0
    report = json.loads(out)
    stages = [("read", 1), ("localize", 1), ("crop", 1)]
    stages += [(stage, size) for size in (1, 2) for stage in ("decode", "network", "whole")]
    assert [(row["stage"], row["batch"]) for row in report["timings"]] == stages
    assert {row["backend"] for row in report["timings"]} == {"torch"}
    assert 100.0 < report["peak_memory_mb"]["torch"] < 10_000.0
    assert report["machine"] == machine()


def test_a_process_that_is_killed_is_one_line() -> None:
    with pytest.raises(HandPoseError, match=r"measures torch float32 ended unexpectedly, .* smaller batch"):
        benchmark(OPEN, camera=Deadly(), backends=["torch"])  # type: ignore[arg-type]
