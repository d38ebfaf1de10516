"""One estimator with many frames and threads: equal results, and no leaks."""

from __future__ import annotations

import ctypes
import gc
import itertools
import resource
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from handpose.geometry.camera import Camera
from handpose.inference.estimator import HandPoseEstimator
from handpose.inference.query import Query
from handpose.io.depth.read import read_depth
from handpose.jobs.pipeline import predict_files
from tests.helpers.paths import EXAMPLES

CAMERA = Camera.parse(str(EXAMPLES / "camera.json"))
FILES = [EXAMPLES / f"{name}.png" for name in ("open", "thumb", "down")]


def test_eight_threads_get_the_results_of_one() -> None:
    estimator = HandPoseEstimator.from_pretrained("msra", device="cpu")
    images = [read_depth(file) for file in FILES]
    expected = [estimator.predict(image, camera=CAMERA) for image in images]

    def predict(turn: int) -> None:
        for i in np.random.default_rng(turn).integers(3, size=4):
            pose = estimator.predict(images[i], camera=CAMERA)
            for name in ("xyz", "uvz", "spread", "center"):
                assert getattr(pose, name).tobytes() == getattr(expected[i], name).tobytes()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(predict, range(8)))


def resources() -> dict[str, int]:
    """Return the memory in MB, open files, threads and temporary files of this process."""
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)  # glibc keeps up to 14 MB of freed pages, more or less by chance
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "memory": pages * resource.getpagesize() // 1_000_000,
        "files": len(list(Path("/proc/self/fd").iterdir())),
        "threads": threading.active_count(),
        "temporary": len(list(Path(tempfile.gettempdir()).iterdir())),
    }


@pytest.mark.parametrize("frames", [150, pytest.param(20_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("way", ["stream", "files"])
def test_no_resources_leak(small_model: Path, frames: int, way: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    estimator = HandPoseEstimator.from_pretrained(small_model, device="cpu")
    small = [read_depth(file)[::4, ::4].astype(np.uint16) for file in FILES]
    camera = CAMERA.resize(160, 120)

    def run(count: int) -> None:
        if way == "stream":
            poses = estimator.stream(itertools.islice(itertools.cycle(small), count), camera=camera)
            assert all(pose.status == "ok" for pose in poses)
        else:
            files = itertools.islice(itertools.cycle(saved), count)
            results = predict_files(estimator, files, Query(camera=camera))
            assert all(result.pose is not None for result in results)

    saved = [tmp_path / f"{i}.npy" for i in range(3)]
    for file, image in zip(saved, small, strict=True):
        np.save(file, image)
    run(100)  # fill all caches and pools
    before = resources()
    run(frames)
    after = resources()
    assert after.pop("memory") <= before.pop("memory") + 12
    assert after == before
