"""Finds the crops of a depth image that may show its hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from handpose.errors import HandPoseError
from handpose.geometry.camera import Camera
from handpose.geometry.crop import HandCrop
from handpose.geometry.rectification import rectify
from handpose.inference.query import Query
from handpose.io.choices import HandOrAuto
from handpose.localization.centers import center_in_box
from handpose.localization.localizer import hand_candidates, nearest_first
from handpose.localization.network import Votes

_MAX_LOCATIONS = 3  # in one image
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
        depth: (H, W) mm, the image if the hand was localized in it, so that it may be cropped again.
    """

    query: Query
    camera: Camera
    source: str = ""
    hand_index: int = 0
    crops: tuple[HandCrop, ...] = ()
    areas: tuple[float, ...] = ()
    depth: np.ndarray | None = None


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
        crops, per_crop = [], []
        for center, area in zip(centers[likely], areas[likely].tolist(), strict=True):
            mirrored = _crops(image, pinhole, center, query, cube)
            crops += mirrored
            per_crop += [area] * len(mirrored)
        return Candidates(query, camera, source, 0, tuple(crops), tuple(per_crop), depth)
    given = query.center if query.box is None else center_in_box(depth, camera, query.box)
    if given is None or np.isnan(given).all():
        return Candidates(query, camera, source)
    crops = _crops(image, pinhole, np.asarray(given), query, cube)
    # Without any surface in the cube, the network would return arbitrary joints.
    if not (np.abs(crops[0].patch) < 1.0).any():
        return Candidates(query, camera, source)
    return Candidates(query, camera, source, 0, tuple(crops), (1.0,) * len(crops))


def find_hands(
    depth: np.ndarray, query: Query, source: str, cube: float, votes: Votes, max_hands: int
) -> list[Candidates]:
    """Return the candidates of each hand in a depth image, nearest first; the arguments are those of `find_candidates`.

    Each has the crops of one location, and is not cropped again. Without a hand, the only element has no crops.

    Raises:
        HandPoseError: the query does not match the image, or it has the center or box of one hand.
    """
    if query.center is not None or query.box is not None:
        raise HandPoseError("a hand center or a box is that of one hand; omit it to find several hands")
    camera = query.camera_for(depth)
    image, pinhole = rectify(depth, camera)
    hands = []
    for index, center in enumerate(nearest_first(*hand_candidates(image, pinhole, max_hands, votes))):
        crops = _crops(image, pinhole, center, query, cube)
        hands.append(Candidates(query, camera, source, index, tuple(crops), (1.0,) * len(crops)))
    return hands or [Candidates(query, camera, source, depth=depth)]


def _crops(depth: np.ndarray, camera: Camera, center: np.ndarray, query: Query, cube: float) -> list[HandCrop]:
    """Return the crops of one location: one for each hand that it may show. The network only knows right hands."""
    crop = HandCrop.cut(depth, camera, center, cube)
    return [crop.flipped() if mirror else crop for mirror in _MIRRORS[query.hand]]
