"""Imports labels of other formats as records: COCO keypoints, and the standard text format of predictions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np

from handpose.datasets.dataset import find_damaged
from handpose.errors import HandPoseError
from handpose.geometry.camera import Camera
from handpose.geometry.layouts import LAYOUTS, JointLayout
from handpose.geometry.uvd import read_predictions
from handpose.io.arguments import check_choice
from handpose.io.choices import Hand, LayoutName
from handpose.io.depth.read import SUFFIXES
from handpose.io.depth.units import DepthUnit
from handpose.io.text import MAX_LABELS_BYTES, describe, read_text
from handpose.io.warn import warn


def records_from_uvd(
    path: Path,
    files: Sequence[Path],
    camera: Camera,
    layout: LayoutName,
    *,
    hand: Hand = "right",
    unit: DepthUnit = "mm",
) -> list[dict[str, Any]]:
    """Return records of labels in the standard text format: `u v d` per joint, one frame per line; nan or 0 if unknown.

    Args:
        path: The text file.
        files: The depth files of its lines.
        camera: Camera of all images.
        layout: Layout of the joints.
        hand: Which hand the images show.
        unit: Unit of the depth values.

    Raises:
        HandPoseError: The file is invalid, or has another number of lines than there are depth files.
    """
    uvz = read_predictions(path, LAYOUTS[layout])
    uvz[(uvz == 0).all(axis=2)] = np.nan
    if len(uvz) != len(files):
        raise HandPoseError(f"{path}: expected {len(files)} lines, one for each depth file, got {len(uvz)}")
    return [
        _record(file, joints, camera, layout, hand, unit)
        for file, joints in zip(files, uvz, strict=True)
        if np.isfinite(joints[:, :2]).any()
    ]


def records_from_coco(
    path: Path, folder: Path, camera: Camera, layout: LayoutName, *, hand: Hand = "right", unit: DepthUnit = "mm"
) -> list[dict[str, Any]]:
    """Return records of COCO keypoints, whose depths are unknown.

    Keypoints are assigned to joints by the names in their category, if these are names of the layout's joints, and
    otherwise by their order. Those with visibility 0 are not labeled. An annotation may state which `hand` it labels.

    Args:
        path: The JSON file.
        folder: Folder of the depth files that `images` names.
        camera: Camera of all images.
        layout: Layout of the joints.
        hand: Which hand the other annotations label.
        unit: Unit of the depth values.

    Raises:
        HandPoseError: The file is not in this format, has another number of keypoints, or states the size of an image
            that is not one of this camera; or none of the labeled images is a depth file in the folder.

    Warns:
        UserWarning: Some of the labeled images are not depth files in the folder.
    """
    try:
        values = json.loads(read_text(path, MAX_LABELS_BYTES))
        files = {image["id"]: folder / image["file_name"] for image in values["images"]}
        cameras = {image["id"]: _camera_of(camera, image) for image in values["images"]}
        categories = values.get("categories", ())
        names = {each.get("id"): tuple(each["keypoints"]) for each in categories if each.get("keypoints")}
        lists = {*names.values()} or {()}
        only = _columns(path, lists.pop(), LAYOUTS[layout]) if len(lists) == 1 else None
        records = []
        for annotation in values["annotations"]:
            own = names.get(annotation.get("category_id"))
            if only is None and own is None:
                raise HandPoseError(f"{path}: an annotation has none of the categories with keypoints")
            columns = only or _columns(path, own or (), LAYOUTS[layout])
            keypoints = np.array(annotation["keypoints"], dtype=np.float64).reshape(-1, 3)
            uvz = np.full((len(LAYOUTS[layout]), 3), np.nan)
            if len(keypoints) != len(columns):
                raise HandPoseError(f"{path}: expected {len(columns)} keypoints, got {len(keypoints)}")
            for joint, keypoint in zip(columns, keypoints, strict=True):
                if joint is not None and keypoint[2] > 0:
                    uvz[joint, :2] = keypoint[:2]
            if np.isfinite(uvz).any():
                side = annotation.get("hand", hand)
                check_choice("hand", side, get_args(Hand))
                image = annotation["image_id"]
                records.append(_record(files[image], uvz, cameras[image], layout, side, unit))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise HandPoseError(f"{path}: not a COCO file of keypoints ({describe(error)})") from None
    sources = [record["source"] for record in records]
    missing = find_damaged(folder, sources, None)
    unusable = [name for i, name in enumerate(sources) if i in missing or not name.lower().endswith(SUFFIXES)]
    if unusable:
        text = (
            f"{folder}: {len(unusable)} of the {len(records)} labeled images are not depth files in this folder, such "
            f"as {unusable[0]}; each `file_name` must be that of a depth file"
        )
        if len(unusable) == len(records):
            raise HandPoseError(text)
        warn(text)
    return records


def _camera_of(camera: Camera, image: dict[str, Any]) -> Camera:
    """Return the camera at the resolution that an entry of `images` states, which its keypoints are in pixels of."""
    width, height = image.get("width"), image.get("height")
    return camera.for_image(width, height) if width and height else camera


def _columns(path: Path, names: Sequence[str], layout: JointLayout) -> list[int | None]:
    """Return the index of the joint for each keypoint; None for keypoints that are not joints of the layout."""
    if not names or not set(names) & set(layout.joints):
        if names and len(names) != len(layout):
            raise HandPoseError(
                f"{path}: none of the keypoints {', '.join(names)[:200]} is a joint of {layout.name}, and their number "
                f"is not {len(layout)}; name the keypoints in categories like the joints: {', '.join(layout.joints)}"
            )
        return [*range(len(layout))]
    return [layout.joints.index(name) if name in layout.joints else None for name in names]


def _record(
    file: Path, uvz: np.ndarray, camera: Camera, layout: LayoutName, hand: Hand, unit: DepthUnit
) -> dict[str, Any]:
    rows = [[None if np.isnan(number) else round(number, 3) for number in joint] for joint in uvz.tolist()]
    return {
        "source": str(file.resolve()),
        "layout": layout,
        "hand": hand,
        "uvz": rows,
        "camera": camera.to_dict(),
        "unit": unit,
    }
