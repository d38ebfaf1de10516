"""Converts the network's outputs to poses."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from handpose.errors import HandPoseError
from handpose.geometry.camera import Cameras
from handpose.geometry.crop import HandCrop, denormalize
from handpose.inference.candidates import Candidates
from handpose.inference.hand_odds import is_doubtful_hand
from handpose.network.calibration import BAD_JOINT
from handpose.network.config import JGRP2OConfig
from handpose.results.joints import Status
from handpose.results.pose import HandPose


def decode(
    uvz: np.ndarray,
    spread: np.ndarray,
    crops: Sequence[HandCrop],
    images: Sequence[Candidates],
    config: JGRP2OConfig,
    model: str,
    hand_log_odds: np.ndarray | None = None,
    side_log_odds: np.ndarray | None = None,
) -> list[HandPose]:
    """Return the pose in each of N > 0 crops, whatever the crop shows.

    Args:
        uvz: (N, J, 3) joints that the network predicts, normalized.
        spread: (N, J, 3) spread of their votes, normalized.
        crops: The N inputs.
        images: The image of each crop.
        config: Configuration of the network.
        model: Name of its weights.
        hand_log_odds: (N,) log-odds that the patches show hands, if known.
        side_log_odds: (N,) log-odds that the patches show right hands, if known.

    Raises:
        HandPoseError: the outputs are not finite.
    """
    if not (np.isfinite(uvz).all() and np.isfinite(spread).all()):
        raise HandPoseError(f"{model}: the network's outputs are not finite; its weights are damaged")
    views, layout = Cameras([crop.camera for crop in crops]), config.joint_layout
    in_patch = denormalize(crops, uvz, config.uv_scale)
    xyz = views.unproject(in_patch)
    # At a joint's depth a patch pixel covers depth / focal length.
    pixel = in_patch[..., 2] / views.fx * config.uv_scale
    spread = spread.astype(np.float64)
    spread[..., :2] *= pixel[..., None]
    spread[..., 2] *= [[crop.cube / 2] for crop in crops]
    error_mm = np.full(xyz.shape[:2], np.nan)
    odds = np.full(len(crops), np.nan) if hand_log_odds is None else hand_log_odds
    if config.calibration is not None:
        error_mm = config.calibration.expected_error(xyz, spread, layout)
    in_image = Cameras([image.camera for image in images]).project(xyz)
    sides = [math.nan] * len(crops) if side_log_odds is None else side_log_odds.tolist()
    predicted = [image.query.hand == "auto" for image in images]
    return [
        HandPose(
            xyz=xyz[i],
            uvz=in_image[i],
            spread=spread[i],
            error_mm=error_mm[i],
            layout=layout,
            status=status_of(error_mm[i], float(odds[i])),
            hand="left" if crop.mirrored else "right",
            center=crop.center,
            cube=crop.cube,
            camera=image.camera,
            model=model,
            source=image.source,
            hand_index=image.hand_index,
            depth_unit=image.query.unit,
            side_log_odds=sides[i] if predicted[i] else math.nan,
            given_side_log_odds=math.nan if predicted[i] else sides[i],
            hand_log_odds=float(odds[i]),
        )
        for i, (crop, image) in enumerate(zip(crops, images, strict=True))
    ]


def status_of(error_mm: np.ndarray, hand_log_odds: float) -> Status:
    """Return the status of a pose.

    Args:
        error_mm: (J,) expected errors in mm, or NaN.
        hand_log_odds: Log-odds that it is a hand, or NaN.
    """
    doubtful = is_doubtful_hand(hand_log_odds) or error_mm.mean() > BAD_JOINT
    return "low_confidence" if doubtful else "ok"


def no_hand(image: Candidates, config: JGRP2OConfig, model: str) -> HandPose:
    """Return the pose of an image without candidates, with its reason."""
    return HandPose.no_hand(
        config.joint_layout,
        hand="right" if image.query.hand == "auto" else image.query.hand,
        cube=config.cube,
        camera=image.camera,
        model=model,
        source=image.source,
        reason=image.reason,
        depth_unit=image.query.unit,
    )
