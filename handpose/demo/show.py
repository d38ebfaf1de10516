"""What the page shows of an image."""

from __future__ import annotations

import html
import re
import warnings
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from handpose.choices import HandOrAuto
from handpose.errors import HandPoseError
from handpose.geometry.camera import CAMERAS, Camera
from handpose.inference.estimator import HandPoseEstimator
from handpose.inference.query import Query
from handpose.io.depth.units import DepthUnit
from handpose.jobs.pipeline import predict_files
from handpose.results.page import pose_page
from handpose.results.pose import HandPose

ASSUMED = "unknown: a view 67 degrees wide is assumed"


class Shown(NamedTuple):
    """What the page shows for an image.

    Attributes:
        said: sentences, HTML.
        overlay: skeleton over depth (H, W, 3) uint8 RGB, if the image could be read.
        viewer: the hand in 3D, HTML.
        rows: of the table, one per joint.
        record: `HandPose.to_dict`.
    """

    said: str
    overlay: np.ndarray | None = None
    viewer: str = ""
    rows: list[list[str | float]] | None = None
    record: dict[str, Any] | None = None


def show_hand(path: str | None, camera: str, unit: str, model: str, hand: HandOrAuto) -> Shown:
    """The hand in an image, or what is wrong, in words.

    Args:
        path: of the depth image; None if there is none yet.
        camera: a preset's name, `fx,fy,cx,cy[,width,height]`, or the words for an unknown one.
        unit: `mm`, `m`, `nyu` or millimetres per stored number.
        model: as in `HandPoseEstimator.from_pretrained`.
        hand: which hand it is.
    """
    if path is None:
        return Shown(sentence_of("Choose a depth image, or one of the examples.", "warning"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            pose, depth = _predict(Path(path), Query(camera_of(camera), hand=hand, unit=unit_of(unit)), model)
        except HandPoseError as error:
            return Shown(sentence_of(str(error).replace(path, Path(path).name), "warning"))
    notes = "".join(sentence_of(str(warning.message).replace(path, Path(path).name), "warning") for warning in caught)
    overlay = pose.draw(depth)[..., ::-1]
    if pose.status == "no_hand":
        advice = "No hand was found. Show a whole hand, 15 to 120 cm away, and check unit and camera."
        return Shown(sentence_of(advice, "warning") + notes, overlay, record=pose.to_dict())
    found = f"A {pose.hand} hand, {pose.xyz[:, 2].mean():.0f} mm from the camera. Status: {pose.status}."
    page = html.escape(pose_page(pose, depth))
    viewer = f'<iframe title="The hand in 3D" sandbox="allow-scripts" srcdoc="{page}"></iframe>'
    numbers = np.column_stack([pose.xyz, pose.uvz[:, :2], pose.error_mm]).round(1).tolist()
    rows = [[joint, *row] for joint, row in zip(pose.layout.joints, numbers, strict=True)]
    return Shown(sentence_of(found) + notes, overlay, viewer, rows, pose.to_dict())


def sentence_of(text: str, kind: str = "") -> str:
    """A sentence as HTML."""
    return f'<p role="status" class="{kind}">{html.escape(text)}</p>'


def _predict(path: Path, query: Query, model: str) -> tuple[HandPose, np.ndarray]:
    (result,) = predict_files(estimator_of(model), [path], query, keep_depth=True)
    if result.pose is None or result.depth is None:
        raise HandPoseError(f"{result.error}")
    return replace(result.pose, source=path.name), result.depth


@lru_cache(maxsize=4)
def estimator_of(model: str) -> HandPoseEstimator:
    """The estimator with these weights, kept for the next image."""
    return HandPoseEstimator.from_pretrained(model)


def camera_of(text: str) -> Camera | None:
    """The camera that a choice or a text stands for, None if it is unknown."""
    if text == ASSUMED:
        return None
    # No files: whoever sees the page need not sit at this machine.
    if text not in CAMERAS and not re.fullmatch(r"[-\d.e, ]+", text):
        raise HandPoseError(f"the camera is one of {', '.join(CAMERAS)}, or fx,fy,cx,cy[,width,height]; got {text!r}")
    return Camera.parse(text)


def unit_of(text: str) -> DepthUnit:
    """The unit that a choice stands for."""
    if text in ("mm", "m", "nyu"):
        return text  # type: ignore[return-value]
    try:
        return float(text)
    except ValueError:
        raise HandPoseError(f"the unit is mm, m, nyu, or millimetres per stored number; got {text!r}") from None
