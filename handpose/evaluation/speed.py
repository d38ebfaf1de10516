"""Speed and memory of every stage of a prediction."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import multiprocessing
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from handpose.errors import HandPoseError
from handpose.geometry.camera import Camera
from handpose.geometry.crop import HandCrop
from handpose.inference.estimator import HandPoseEstimator
from handpose.io.choices import BackendName, Precision, Views
from handpose.io.depth.read import read_depth
from handpose.io.depth.units import DepthUnit
from handpose.io.progress import track
from handpose.runtimes.base import Runtime
from handpose.runtimes.select import GRAPH_SUFFIXES, installed_backends

_WARMUP_CALLS = 5
_VERSIONS = ("handpose", "numpy", "opencv-python-headless", "torch", "onnxruntime", "openvino")


@dataclass(frozen=True)
class Timing:
    """Duration of one stage.

    Attributes:
        stage: `read` (a file), `localize` (the hand), `crop`, `network` (all views), `decode` (network outputs to
            poses) or `whole` (arrays to poses, which includes all of these except `read`).
        batch: Images per call.
        p50_ms: Median duration of a call.
        p95_ms: 95th percentile of the duration of a call.
        per_second: Images per second at the median.
    """

    stage: str
    batch: int
    p50_ms: float
    p95_ms: float
    per_second: float


def benchmark(  # noqa: PLR0913 - each is a setting of the measurement
    image: str | Path,
    *,
    camera: Camera,
    unit: DepthUnit = "mm",
    model: str = "msra",
    backends: Sequence[BackendName] = (),
    precisions: Sequence[Precision] = ("float32",),
    views: Views = 1,
    device: str = "auto",
    batch_sizes: Sequence[int] = (1, 16, 64),
    repeats: int = 200,
) -> dict[str, Any]:
    """Measure every stage with each backend in a separate process, and return `machine`, `peak_memory_mb`, `timings`.

    Args:
        image: Depth file with a hand.
        camera: Intrinsics of the image.
        unit: Unit of the image.
        model: Model, as in `HandPoseEstimator.from_pretrained`.
        backends: Backends; by default, all that are installed and support the precision.
        precisions: Precisions of the network.
        views: Number of views to average over.
        device: Device that runs the network.
        batch_sizes: Batch sizes of the stages `decode`, `network` and `whole`.
        repeats: Calls per stage at batch size 1; larger batches are repeated less often, but at least ten times.

    Raises:
        HandPoseError: The image shows no hand or cannot be read, a backend cannot be used, or a process ended
            unexpectedly.
    """
    names: Sequence[BackendName] = backends or (
        ["auto"]
        if Path(model).suffix.lower() in GRAPH_SUFFIXES
        else installed_backends()
        if device in ("auto", "cpu")
        else ["torch"]  # the only backend for GPUs
    )
    variants = [
        (name, precision)
        for name in names
        for precision in precisions
        if backends or (name, precision) != ("torch", "int8")
    ]
    settings = {"camera": camera, "unit": unit, "batch_sizes": batch_sizes, "repeats": repeats}
    report: dict[str, Any] = {"machine": machine(), "peak_memory_mb": {}, "timings": []}
    for name, precision in track(variants, "measuring", len(variants)):
        # In one process, the idle threads of a runtime would slow down the others, and all would share their memory.
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            task = process.submit(_measure_backend, name, precision, views, model, device, image, settings)
            try:
                timings, memory = task.result()
            except BrokenProcessPool:
                raise HandPoseError(
                    f"the process that measures {name} {precision} ended unexpectedly, perhaps because the memory is "
                    "full; use smaller batches, and start a Python program with `if __name__ == '__main__'`"
                ) from None
        report["timings"] += timings
        report["peak_memory_mb"][name if precision == "float32" else f"{name} {precision}"] = memory
    return report


def _measure_backend(
    backend: BackendName,
    precision: Precision,
    views: Views,
    model: str,
    device: str,
    image: str | Path,
    settings: dict[str, Any],
) -> tuple[list[dict[str, Any]], float | None]:
    estimator = HandPoseEstimator.from_pretrained(
        model, backend=backend, precision=precision, views=views, device=device
    )
    timings = measure(estimator, image, **settings)
    measured = {"backend": backend, "precision": precision}
    return [measured | dataclasses.asdict(timing) for timing in timings], peak_memory_mb()


def measure(
    estimator: HandPoseEstimator,
    image: str | Path,
    *,
    camera: Camera,
    unit: DepthUnit,
    batch_sizes: Sequence[int],
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Timing]:
    """Return the timings of every stage on one image with a hand, measured in this process.

    Args:
        estimator: Estimator to measure.
        image: Depth file.
        camera: Intrinsics of the image.
        unit: Unit of the image.
        batch_sizes: Batch sizes of the stages `decode`, `network` and `whole`.
        repeats: Calls per stage at batch size 1; larger batches are repeated less often, but at least ten times.
        clock: Function that returns the current time in seconds.

    Raises:
        HandPoseError: The image shows no hand or cannot be read.
    """
    depth = read_depth(image, unit)
    centers = estimator.localize_hands(depth, camera)
    if not len(centers):
        raise HandPoseError(f"{image}: expected an image with a hand, found none")
    cube = estimator.config.cube
    crop = HandCrop.cut(depth, camera, centers[0], cube)
    # A network with precomputed outputs leaves only the time to decode them.
    uvz = estimator.predict_patches(crop.patch[None, None])
    decoder = HandPoseEstimator(_ConstantPose(uvz), estimator.config, estimator.name, views=estimator.views)

    stages: list[tuple[str, int, Callable[[], object]]] = [
        ("read", 1, lambda: read_depth(image, unit)),
        ("localize", 1, lambda: estimator.localize_hands(depth, camera)),
        ("crop", 1, lambda: HandCrop.cut(depth, camera, centers[0], cube)),
    ]
    for size in batch_sizes:
        patches, images = np.repeat(crop.patch[None, None], size * estimator.views, axis=0), [depth] * size
        stages += [
            ("decode", size, lambda crops=[crop] * size: decoder.predict_crops(crops)),  # type: ignore[misc]
            ("network", size, lambda patches=patches: estimator.predict_patches(patches)),  # type: ignore[misc]
            ("whole", size, lambda images=images: estimator.predict_batch(images, camera=camera, hand="right")),  # type: ignore[misc]
        ]
    timings = []
    for stage, batch, call in stages:
        seconds = time_calls(call, max(10, repeats // batch), clock)
        p50, p95 = (round(1000.0 * float(value), 3) for value in np.percentile(seconds, (50, 95)))
        timings.append(Timing(stage, batch, p50, p95, round(1000.0 * batch / p50, 1)))
    return timings


class _ConstantPose(Runtime):
    """A runtime that immediately returns the same joints (1, J, 3) for every patch."""

    def __init__(self, uvz: np.ndarray) -> None:
        self._uvz = uvz

    def pose(self, patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self._uvz.repeat(len(patches), axis=0), np.zeros((len(patches), *self._uvz.shape[1:]))


def time_calls(call: Callable[[], object], repeats: int, clock: Callable[[], float] = time.perf_counter) -> list[float]:
    """Return the durations of repeated calls, after warm-up calls, in the unit of `clock`."""
    for _ in range(_WARMUP_CALLS):
        call()
    durations = []
    for _ in range(repeats):
        start = clock()
        call()
        durations.append(clock() - start)
    return durations


def peak_memory_mb() -> float | None:
    """Return the peak memory of this process in MB, or None if the system does not report it."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1e6 if sys.platform == "darwin" else 1e6 / 1024), 1)


def machine() -> dict[str, str]:
    """Return processor, number of cores, system, and the versions of Python and the packages that affect speed."""
    description = {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "system": platform.platform(),
        "python": platform.python_version(),
    }
    for name in _VERSIONS:
        try:
            description[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return description


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
