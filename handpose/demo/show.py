"""The outputs of the page for a depth image."""

from __future__ import annotations

import base64
import html
import json
import re
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from handpose.errors import HandPoseError
from handpose.geometry.camera import CAMERAS, Camera
from handpose.inference.estimator import HandPoseEstimator
from handpose.inference.query import Query
from handpose.io.choices import HandOrAuto, Precision, Views
from handpose.io.depth.units import parse_unit
from handpose.jobs.pipeline import predict_files
from handpose.results.page import pose_page
from handpose.results.pose import HandPose, draw_hands

ASSUMED = "unknown (a field of view of 67 degrees is assumed)"


class Shown(NamedTuple):
    """The outputs of the page.

    Attributes:
        status: Result, warnings and errors as HTML.
        overlay: (H, W, 3) uint8 RGB picture of the skeleton over the depth image, if the image could be read.
        viewer: 3D view of each hand as HTML.
        downloads: Links to the records, the picture and the 3D views as files, as HTML.
        rows: Rows of the table, one per joint.
        records: `HandPose.to_dict` of each pose.
    """

    status: str
    overlay: np.ndarray | None = None
    viewer: str = ""
    downloads: str = ""
    rows: list[list[str | float]] | None = None
    records: list[dict[str, Any]] | None = None


def show_hands(
    path: str | None,
    camera: str,
    unit: str,
    model: str,
    hand: HandOrAuto,
    max_hands: int = 1,
    *,
    precision: Precision = "float32",
    views: Views = 1,
) -> Shown:
    """Predict the hands in a depth image, and return the outputs of the page.

    Args:
        path: Path of the depth image, None if none is chosen.
        camera: Name of a preset, `fx,fy,cx,cy[,width,height]`, or `ASSUMED`.
        unit: `mm`, `m`, `nyu` or millimeters per stored unit.
        model: Model, as in `HandPoseEstimator.from_pretrained`.
        hand: Which hand the image shows.
        max_hands: Maximum number of hands.
        precision: Precision of the network.
        views: Number of views to average over.
    """
    if path is None:
        return Shown(message_html("Choose a depth image or one of the examples.", "warning"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            query = Query(camera_of(camera), hand=hand, unit=parse_unit(unit))
            poses, depth = _predict(Path(path), query, estimator_of(model, precision, views), max_hands)
        except HandPoseError as error:
            return Shown(message_html(str(error).replace(path, Path(path).name), "warning"))
    notes = "".join(message_html(str(warning.message).replace(path, Path(path).name), "warning") for warning in caught)
    picture = draw_hands(depth, poses)
    overlay, records = picture[..., ::-1], [pose.to_dict() for pose in poses]
    if poses[0].status == "no_hand":
        advice = (
            f"No hand was found: {poses[0].reason}. Show the whole hand at a distance of 15 to 120 cm, and check unit "
            "and camera."
        )
        return Shown(message_html(advice, "warning") + notes, overlay, records=records)
    results = [f"A {pose.hand} hand, {pose.center[2]:.0f} mm from the camera. Status: {pose.status}." for pose in poses]
    pages = [pose_page(pose, depth) for pose in poses]
    viewers = [
        f'<iframe title="The {pose.hand} hand in 3D" sandbox="allow-scripts" srcdoc="{html.escape(page)}"></iframe>'
        for pose, page in zip(poses, pages, strict=True)
    ]
    downloads = _downloads_html(Path(path).stem, records, cv2.imencode(".png", picture)[1].tobytes(), pages)
    rows = [row for pose in poses for row in _rows(pose)]
    return Shown("".join(map(message_html, results)) + notes, overlay, "".join(viewers), downloads, rows, records)


def _rows(pose: HandPose) -> list[list[str | float]]:
    """Return for each joint: hand, name, x, y, z in mm, u, v in px and the expected error in mm."""
    numbers = np.column_stack([pose.xyz, pose.uvz[:, :2], pose.error_mm]).round(1).tolist()
    return [[pose.hand, joint, *row] for joint, row in zip(pose.layout.joints, numbers, strict=True)]


def message_html(text: str, kind: str = "") -> str:
    """Return a sentence as HTML."""
    return f'<p role="status" class="{kind}">{html.escape(text)}</p>'


def _downloads_html(stem: str, records: Sequence[dict[str, Any]], png: bytes, pages: Sequence[str]) -> str:
    """Return links that contain the files themselves, so the server does not store them."""
    files = [
        ("JSON", f"{stem}.json", "application/json", json.dumps(records, indent=2).encode()),
        ("PNG", f"{stem}.png", "image/png", png),
        *(
            ("HTML", f"{stem}{'' if index == 0 else f'-{index + 1}'}.html", "text/html", page.encode())
            for index, page in enumerate(pages)
        ),
    ]
    links = [
        f'<a download="{html.escape(name)}" href="data:{kind};base64,{base64.b64encode(data).decode()}">{title}</a>'
        for title, name, kind, data in files
    ]
    return f"<p>Download: {' '.join(links)}</p>"


def _predict(
    path: Path, query: Query, estimator: HandPoseEstimator, max_hands: int
) -> tuple[list[HandPose], np.ndarray]:
    (result,) = predict_files(estimator.for_new_job(), [path], query, max_hands=max_hands, keep_depth=True)
    if not result.poses or result.depth is None:
        raise HandPoseError(f"{result.error}")
    return [replace(pose, source=path.name) for pose in result.poses], result.depth


@lru_cache(maxsize=4)
def estimator_of(model: str, precision: Precision, views: Views) -> HandPoseEstimator:
    """Return the cached estimator of a model."""
    return HandPoseEstimator.from_pretrained(model, precision=precision, views=views)


def camera_of(text: str) -> Camera | None:
    """Parse the camera input; return None for `ASSUMED`."""
    if text == ASSUMED:
        return None
    # Camera files of the server are not accepted, because the page may be open on another machine.
    if text not in CAMERAS and not re.fullmatch(r"[-\d.e, ]+", text):
        raise HandPoseError(
            f"the camera must be one of {', '.join(CAMERAS)}, or fx,fy,cx,cy[,width,height]; got {text!r}"
        )
    return Camera.parse(text)
