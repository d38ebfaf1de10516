"""Many files: read, predict in batches, and let one bad file fail alone."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from handpose.camera import Camera
from handpose.depth_io import DepthUnit, DepthUnitWarning, read_depth
from handpose.errors import HandPoseError
from handpose.estimator import Box, HandOrAuto, HandPoseEstimator
from handpose.pose import HandPose


@dataclass(frozen=True, eq=False)
class FileResult:
    """What became of one file: a pose and the depth image (H, W) mm it was found in, or an error."""

    path: Path
    pose: HandPose | None = None
    depth: np.ndarray | None = None
    error: HandPoseError | None = None


def predict_files(
    estimator: HandPoseEstimator,
    paths: Sequence[Path],
    *,
    camera: Camera | None = None,
    centers: np.ndarray | None = None,
    box: Box | None = None,
    hand: HandOrAuto = "right",
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
        chunk = [_read(path, unit) for path in paths[start : start + batch_size]]
        places = [start + i for i, result in enumerate(chunk) if result.depth is not None]

        def predict(places: list[int], chunk: list[FileResult] = chunk, start: int = start) -> list[HandPose]:
            depths = [depth for place in places if (depth := chunk[place - start].depth) is not None]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DepthUnitWarning)  # reading has already warned
                return estimator.predict_batch(
                    depths, camera=camera, center=None if centers is None else centers[places], box=box, hand=hand
                )

        poses: dict[int, HandPose] = {}
        try:
            poses = dict(zip(places, predict(places), strict=True))
        except HandPoseError:
            # One of them is to blame: the others must not suffer for it.
            for place in places:
                try:
                    poses[place] = predict([place])[0]
                except HandPoseError as error:
                    path = paths[place]
                    chunk[place - start] = FileResult(path, error=HandPoseError(f"{path}: {error}"))
        for i, result in enumerate(chunk):
            pose = poses.get(start + i)
            yield result if pose is None else replace(result, pose=replace(pose, source=str(result.path)))


def _read(path: Path, unit: DepthUnit) -> FileResult:
    try:
        return FileResult(path, depth=read_depth(path, unit))
    except HandPoseError as error:
        return FileResult(path, error=error)
