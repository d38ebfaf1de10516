"""Many files: read, predict in batches, and let one bad file fail alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from handpose.camera import Camera
from handpose.depth_io import DepthUnit, read_depth
from handpose.errors import HandPoseError
from handpose.estimator import Box, HandPoseEstimator
from handpose.pose import Hand, HandPose


@dataclass(frozen=True)
class FileResult:
    """What became of one file: a pose and the depth image (H, W) mm it was found in, or an error."""

    path: Path
    outcome: HandPose | HandPoseError
    depth: np.ndarray | None = None


def predict_files(
    estimator: HandPoseEstimator,
    paths: Sequence[Path],
    *,
    camera: Camera | None = None,
    centers: np.ndarray | None = None,
    box: Box | None = None,
    hand: Hand = "right",
    unit: DepthUnit = "mm",
    batch_size: int = 16,
) -> Iterator[FileResult]:
    """The results of all files, in order, a batch at a time.

    Args:
        estimator: what predicts.
        paths: depth files.
        camera: as in `HandPoseEstimator.predict`, like `box`, `hand` and `unit`.
        box: see `camera`.
        hand: see `camera`.
        unit: see `camera`.
        centers: (N, 3) mm, one per file; NaN for a file without a hand.
        batch_size: files per pass through the network.
    """
    for start in range(0, len(paths), batch_size):
        chunk = paths[start : start + batch_size]
        read = [_read(path, camera, unit) for path in chunk]
        good = [i for i, result in enumerate(read) if result.depth is not None]
        poses = estimator.predict_batch(
            [depth for result in read if (depth := result.depth) is not None],
            camera=camera,
            center=None if centers is None else centers[[start + i for i in good]],
            box=box,
            hand=hand,
        )
        for i, pose in zip(good, poses, strict=True):
            read[i] = dataclasses.replace(read[i], outcome=dataclasses.replace(pose, source=str(chunk[i])))
        yield from read


def _read(path: Path, camera: Camera | None, unit: DepthUnit) -> FileResult:
    try:
        depth = read_depth(path, unit)
        if camera is not None:
            camera.for_image(depth.shape[1], depth.shape[0])
    except HandPoseError as error:
        text = str(error)
        return FileResult(path, error if str(path) in text else HandPoseError(f"{path}: {text}"))
    return FileResult(path, HandPoseError(f"{path}: not predicted"), depth)
