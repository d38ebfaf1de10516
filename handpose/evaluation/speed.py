"""How long each stage of a prediction takes on this machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from handpose.errors import HandPoseError
from handpose.geometry.camera import Camera
from handpose.geometry.crop import HandCrop
from handpose.inference.estimator import HandPoseEstimator
from handpose.io.depth.read import read_depth
from handpose.io.depth.units import DepthUnit
from handpose.runtimes.base import BackendName, Runtime

_WARM_UP = 5  # calls
_VERSIONS = ("handpose", "numpy", "opencv-python-headless", "torch", "onnxruntime", "openvino")


@dataclass(frozen=True)
class Timing:
    """How long one stage takes.

    Attributes:
        backend: what ran the network.
        stage: `read` a file, `localise` the hand, `crop`, `network`, `decode` (its output to a pose), or `whole` (an
            array to a pose, all of these but `read`).
        batch: images per call.
        p50_ms, p95_ms: median and 95th percentile of one call.
        per_second: images per second at the median.
    """

    backend: str
    stage: str
    batch: int
    p50_ms: float
    p95_ms: float
    per_second: float


def measure(
    image: Path,
    *,
    model: str,
    backend: BackendName,
    device: str,
    camera: Camera,
    unit: DepthUnit,
    batch_sizes: Sequence[int],
    repeats: int,
) -> list[Timing]:
    """The timings of every stage on one image with a hand.

    Args:
        image: a depth file.
        model: as in `HandPoseEstimator.from_pretrained`, like `backend` and `device`.
        backend: see `model`.
        device: see `model`.
        camera: intrinsics of the image.
        unit: of the image.
        batch_sizes: for `decode`, `network` and `whole`.
        repeats: calls per stage; fewer, but at least ten, for batches.

    Raises:
        HandPoseError: the image shows no hand, or cannot be read.
    """
    estimator = HandPoseEstimator.from_pretrained(model, backend=backend, device=device)
    depth = read_depth(image, unit)
    centres = estimator.localize_hands(depth, camera)
    if not len(centres):
        raise HandPoseError(f"{image}: expected an image with a hand, found none")
    cube = estimator.config.cube
    crop = HandCrop.cut(depth, camera, centres[0], cube)
    # The same joints, at no cost: what is left is the way from them to a pose.
    uvz = estimator.predict_patches(crop.patch[None, None])
    decoder = HandPoseEstimator(_ConstantPose(uvz), estimator.config, estimator.name)

    stages: list[tuple[str, int, Callable[[], object]]] = [
        ("read", 1, lambda: read_depth(image, unit)),
        ("localise", 1, lambda: estimator.localize_hands(depth, camera)),
        ("crop", 1, lambda: HandCrop.cut(depth, camera, centres[0], cube)),
    ]
    for size in batch_sizes:
        patches, images = np.repeat(crop.patch[None, None], size, axis=0), [depth] * size
        stages += [
            ("decode", size, lambda crops=[crop] * size: decoder.predict_crops(crops)),  # type: ignore[misc]
            ("network", size, lambda patches=patches: estimator.predict_patches(patches)),  # type: ignore[misc]
            ("whole", size, lambda images=images: estimator.predict_batch(images, camera=camera)),  # type: ignore[misc]
        ]
    return [_timing(backend, stage, batch, call, max(10, repeats // batch)) for stage, batch, call in stages]


class _ConstantPose(Runtime):
    """Returns the same joints (1, J, 3) for every patch, at no cost."""

    def __init__(self, uvz: np.ndarray) -> None:
        self._uvz = uvz

    def pose(self, patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self._uvz.repeat(len(patches), axis=0), np.zeros((len(patches), *self._uvz.shape[1:]))


def _timing(backend: str, stage: str, batch: int, call: Callable[[], object], repeats: int) -> Timing:
    for _ in range(_WARM_UP):
        call()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        call()
        times.append(1000.0 * (time.perf_counter() - begin))
    p50, p95 = (round(float(value), 3) for value in np.percentile(times, (50, 95)))
    return Timing(backend, stage, batch, p50, p95, round(1000.0 * batch / p50, 1))


def peak_memory_mb() -> float | None:
    """The most memory that this process has held, MB; None where the system does not tell."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1e6 if sys.platform == "darwin" else 1e6 / 1024), 1)


def machine() -> dict[str, str]:
    """What the timings belong to: processor, cores, system, and versions of what takes part."""
    described = {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "system": platform.platform(),
        "python": platform.python_version(),
    }
    for name in _VERSIONS:
        try:
            described[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return described


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
