"""Finds the crops of a depth image that may show its hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from handpose.errors import HandPoseError
from handpose.geometry.camera import Camera
from handpose.geometry.crop import HandCrop, meters_hint
from handpose.geometry.rectification import rectify
from handpose.inference.query import Box, Query
from handpose.io.choices import HandOrAuto
from handpose.io.warn import Note
from handpose.localization.centers import FARTHEST_IN_BOX, center_in_box, pixels_in_box
from handpose.localization.localizer import HAND_LENGTH, hand_candidates, nearest_first
from handpose.localization.network import FARTHEST, NEAREST, Votes

_MAX_LOCATIONS = 3  # in one image
_MAX_FAINT_LOCATIONS = 6
_MAX_FAINT_HANDS = 3  # besides the likely ones
_MIN_AREA_RATIO = 0.2  # to the area of the most likely location
_MIRRORS: dict[HandOrAuto, tuple[bool, ...]] = {"right": (False,), "left": (True,), "auto": (False, True)}


@dataclass(frozen=True, eq=False)
class Candidates:
    """The crops of one depth image that may show its hand.

    Attributes:
        query: Camera, unit, hand and, if given, hand center or box of the image.
        camera: Camera of the image: that of the query, or an assumed one.
        source: Path of the image, or empty.
        hand_index: Index of the hand among those of the image.
        crops: The crops; empty if there is no hand.
        areas: The surface, in mm^2, that the localizer attributes to the hand of each crop; 1 if it was not asked.
        depth: (H, W) mm, the image, so that it may be examined; None for a crop without its image.
        is_localized: Whether the hand was localized in the image, so that it may be cropped again.
        reason: Why there are no crops.
        notes: Warnings about the depth values, to be issued with those of the pose.
        is_faint: Whether this is another location than those of the likely hands, where a hand is unlikely.
        max_hands: Maximum number of hands to find in the image.
    """

    query: Query
    camera: Camera
    source: str = ""
    hand_index: int = 0
    crops: tuple[HandCrop, ...] = ()
    areas: tuple[float, ...] = ()
    depth: np.ndarray | None = None
    is_localized: bool = False
    reason: str = ""
    notes: tuple[Note, ...] = ()
    is_faint: bool = False
    max_hands: int = 1


def find_candidates(depth: np.ndarray, query: Query, source: str, cube: float, votes: Votes) -> Candidates:
    """Return the crops of a depth image that may show the hand.

    Args:
        depth: (H, W) mm, 0 = missing.
        query: Camera, unit, hand and, if given, hand center or box of the image.
        source: Path of the image, or empty.
        cube: Side of the cube to crop, mm.
        votes: Localizer network.

    Raises:
        HandPoseError: the query does not match the image.
    """
    camera = query.camera_for(depth)
    image, pinhole = rectify(depth, camera)
    if query.center is None and query.box is None:
        centers, areas = hand_candidates(image, pinhole, _MAX_LOCATIONS, votes)
        likely = areas >= _MIN_AREA_RATIO * areas.max(initial=0.0)
        localized, per_crop = _crops_of_all(image, pinhole, centers[likely], areas[likely], query, cube)
        reason = "" if localized else why_not_localized(depth)
        return Candidates(query, camera, source, 0, localized, per_crop, depth, True, reason)
    given = query.center if query.box is None else center_in_box(depth, camera, query.box)
    if given is None or np.isnan(given).all():
        reason = "the given hand center is invalid" if query.box is None else _why_not_in_box(depth, query.box)
        return Candidates(query, camera, source, depth=depth, reason=reason)
    crops = _crops(image, pinhole, np.asarray(given), query, cube)
    # Without any surface in the cube, the network would return arbitrary joints.
    if not (np.abs(crops[0].patch) < 1.0).any():
        hint = "" if query.box is not None else meters_hint(np.asarray(given))
        reason = f"no depth value is within {cube / 2:.0f} mm of the given hand center{hint}"
        return Candidates(query, camera, source, depth=depth, reason=reason)
    return Candidates(query, camera, source, 0, tuple(crops), (1.0,) * len(crops), depth)


def faint_candidates(image: Candidates, cube: float, votes: Votes) -> Candidates:
    """Return the crops of all locations in an image that may show its hand, even if this is unlikely.

    Args:
        image: An image whose hand was localized.
        cube: Side of the cube to crop, mm.
        votes: Localizer network.
    """
    if image.depth is None:
        return image
    rectified, pinhole = rectify(image.depth, image.camera)
    centers, _ = hand_candidates(rectified, pinhole, _MAX_FAINT_LOCATIONS, votes, faint=True)
    # All areas are equal: what the localizer overlooked has a small one by definition.
    crops, areas = _crops_of_all(rectified, pinhole, centers, np.ones(len(centers)), image.query, cube)
    return replace(image, crops=crops, areas=areas)


def as_both_hands(image: Candidates, crops: Sequence[HandCrop]) -> Candidates:
    """Return an image with other crops, in each of which the hand is predicted as a right and as a left one."""
    pairs = ((crop.flipped(), crop) if crop.mirrored else (crop, crop.flipped()) for crop in crops)
    areas = (1.0,) * (2 * len(crops))
    return replace(image, query=replace(image.query, hand="auto"), crops=tuple(chain(*pairs)), areas=areas)


def find_hands(
    depth: np.ndarray, query: Query, source: str, cube: float, votes: Votes, max_hands: int, *, thorough: bool
) -> list[Candidates]:
    """Return the candidates of each hand in a depth image, nearest first; the arguments are those of `find_candidates`.

    Each has the crops of one location, and is not cropped again. Without a likely hand, the first element has no crops.
    If there are fewer likely hands than `max_hands`, faint ones follow, unless `thorough` is false.

    Raises:
        HandPoseError: the query does not match the image, or it has the center or box of one hand.
    """
    if query.center is not None or query.box is not None:
        raise HandPoseError("a hand center or a box is that of one hand; omit it to find several hands")
    camera = query.camera_for(depth)
    image, pinhole = rectify(depth, camera)
    found = Candidates(query, camera, source, depth=depth, max_hands=max_hands)
    likely = nearest_first(*hand_candidates(image, pinhole, max_hands, votes))
    faint = np.empty((0, 3))
    if thorough and len(likely) < max_hands:
        faint, _ = hand_candidates(image, pinhole, len(likely) + _MAX_FAINT_HANDS, votes, faint=True)
        faint = faint[(np.linalg.norm(faint[:, None] - likely, axis=-1) > HAND_LENGTH / 2).all(axis=1)]
    hands = []
    for index, center in enumerate([*likely, *faint]):
        crops = _crops(image, pinhole, center, query, cube)
        is_faint = index >= len(likely)
        hands.append(replace(found, hand_index=index, crops=tuple(crops), areas=(1.0,) * len(crops), is_faint=is_faint))
    return hands if len(likely) else [replace(found, reason=why_not_localized(depth)), *hands]


def why_not_localized(depth: np.ndarray) -> str:
    """Return why no hand was found in a depth image (H, W) in mm."""
    if not (depth > 0).any():
        return "the image has no depth values"
    if not ((depth > NEAREST) & (depth < FARTHEST)).any():
        return f"no depth value is between {NEAREST:.0f} and {FARTHEST:,.0f} mm"
    return "nothing in the image looks like a hand"


def _why_not_in_box(depth: np.ndarray, box: Box) -> str:
    """Return why a box contains no hand center."""
    height, width = depth.shape
    pixels = pixels_in_box(depth, box)
    if not pixels.size:
        x, y, w, h = box
        if x < width and y < height and x + w > 0 and y + h > 0:
            return "the box is smaller than a pixel"
        return f"the box is outside of the image of {width} x {height} px"
    if not (pixels > 0).any():
        return "the box contains no depth values"
    return f"no depth value in the box is between {NEAREST:.0f} and {FARTHEST_IN_BOX:,.0f} mm"


def _crops_of_all(
    depth: np.ndarray, camera: Camera, centers: np.ndarray, areas: np.ndarray, query: Query, cube: float
) -> tuple[tuple[HandCrop, ...], tuple[float, ...]]:
    """Return the crops of several locations, and the area of the location of each crop."""
    crops = [crop for center in centers for crop in _crops(depth, camera, center, query, cube)]
    return tuple(crops), tuple(areas.repeat(len(_MIRRORS[query.hand])).tolist())


def _crops(depth: np.ndarray, camera: Camera, center: np.ndarray, query: Query, cube: float) -> list[HandCrop]:
    """Return the crops of one location: one for each hand that it may show. The network only knows right hands."""
    crop = HandCrop.cut(depth, camera, center, cube)
    return [crop.flipped() if mirror else crop for mirror in _MIRRORS[query.hand]]
