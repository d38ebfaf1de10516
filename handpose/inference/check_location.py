"""Checks a given box or hand center: whether it fits the image, and whether a hand is there."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from handpose.errors import HandPoseError
from handpose.inference.candidates import Candidates
from handpose.inference.query import Box
from handpose.localization.localizer import hand_candidates
from handpose.localization.network import Votes
from handpose.network.calibration import CLEAR_HAND
from handpose.results.pose import HandPose, PoseWarning

_BEYOND = 0.02  # of the image: boxes of detectors reach this far beyond it
_OUTSIDE = 0.25  # of a box, above which it is not just that of a hand at the border of the image
_MAX_LOCATIONS = 3  # of hands in the image, to compare the given one with
_FAR_JOINTS = 35.0  # mm from a given hand center to the mean of the joints; correct centers are closer
_REACH = 60.0  # mm from a given hand center to the one that the localizer finds, if they belong to the same hand
_OTHER_CAUSES = {"unit", "disparity", "interpolated", "focal_lengths"}


def box_warnings(box: Box | None, shape: tuple[int, int]) -> tuple[PoseWarning, ...]:
    """Return the warning that a box reaches beyond an image of this shape (H, W), as two corners often do.

    A box around a hand at the border may do so, too. Therefore, there is only a warning if a large part of the box is
    outside, or if its numbers may be the corners of a box inside of the image.
    """
    if box is None:
        return ()
    height, width = shape
    x, y, w, h = map(float, box)
    right, bottom = x + w, y + h
    has_corners = x < w <= (1 + _BEYOND) * width and y < h <= (1 + _BEYOND) * height
    if x >= width or y >= height or right <= 0 or bottom <= 0:
        text = f"the box is outside of the image of {width} x {height} px"
    elif right > (1 + _BEYOND) * width and (has_corners or right - width > _OUTSIDE * w):
        text = f"the box reaches to column {right:.0f}, but the image has {width} columns"
    elif bottom > (1 + _BEYOND) * height and (has_corners or bottom - height > _OUTSIDE * h):
        text = f"the box reaches to row {bottom:.0f}, but the image has {height} rows"
    else:
        return ()
    return (PoseWarning("box", f"{text}; the order is x, y, width, height"),)


def location_warnings(
    pose: HandPose, image: Candidates, found: Iterable[PoseWarning], votes: Votes
) -> tuple[PoseWarning, ...]:
    """Return the warning that nothing at the given location looks like a hand.

    Args:
        pose: The pose. It is checked if the hand is unclear or not at the given center, which takes one run of the
            localizer.
        image: Its image.
        found: Other warnings about the pose, one of which may be the cause.
        votes: Localizer network.
    """
    query, depth = image.query, image.depth
    if depth is None or (query.center is None and query.box is None):
        return ()
    is_beside = query.center is not None and np.linalg.norm(pose.xyz.mean(axis=0) - query.center) > _FAR_JOINTS
    if not (is_beside or pose.error_mm.mean() > CLEAR_HAND):
        return ()
    if any(warning.code in _OTHER_CAUSES for warning in found):
        return ()
    try:
        centers, _ = hand_candidates(depth, image.camera, _MAX_LOCATIONS, votes)
    except HandPoseError:  # the localizer does not support this field of view
        return ()
    reach = _REACH if query.box is None else pose.cube / 2
    if (np.linalg.norm(centers - pose.center, axis=-1) < reach).any():
        return ()
    given, order = (
        ("box", "x, y, width and height in px")
        if query.box is not None
        else ("hand center", "x, y, z in mm in the camera frame, with y down (check the sign of y)")
    )
    text = f"nothing at the given {given} looks like a hand; pass it as {order}, or omit it to localize the hand"
    return (PoseWarning("location", text),)
