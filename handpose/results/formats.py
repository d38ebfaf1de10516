"""Converts records to lines and files of each format."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from handpose.geometry.uvd import prediction_line
from handpose.results.joint_rows import CSV_COLUMNS, joint_rows, warning_codes
from handpose.results.mcap import mcap_bytes
from handpose.results.pose import HandPose
from handpose.results.records import FailedFrame, Record


def _json_line(record: Record) -> str:
    return json.dumps(record.to_dict()) + "\n"


def _csv_rows(record: Record) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(map(_csv_cells, joint_rows(record)))
    return text.getvalue()


def _csv_cells(row: tuple[Any, ...]) -> Iterator[Any]:
    """Format numbers with two decimals, and leave missing ones empty."""
    for cell in row:
        if isinstance(cell, float):
            yield "" if math.isnan(cell) else f"{cell:.2f}"
        else:
            yield "" if cell is None else cell


def _uvd_line(record: Record) -> str:
    """Return the line that `handpose.geometry.uvd` reads; a failed frame is a line of `nan`."""
    missing = np.full((len(record.layout), 3), np.nan)
    return prediction_line(missing if isinstance(record, FailedFrame) else record.uvz) + "\n"


def json_bytes(records: Sequence[Record]) -> bytes:
    """Return the records as one JSON array."""
    return (json.dumps([record.to_dict() for record in records], indent=1) + "\n").encode()


def npz_bytes(records: Sequence[Record]) -> bytes:
    """Return an npz file: one array over all N records per field of a record, and the joint names (J,)."""
    joints = records[0].layout.joints if records else ()
    no_joints = np.full((len(joints), 3), np.nan)

    def column(value: Callable[[HandPose], Any], missing: Any) -> np.ndarray:
        return np.array([missing if isinstance(record, FailedFrame) else value(record) for record in records])

    data = io.BytesIO()
    np.savez_compressed(
        data,
        source=np.array([record.source for record in records]),
        status=np.array([record.status for record in records]),
        reason=np.array([record.reason for record in records]),
        model=column(lambda pose: pose.model, ""),
        layout=np.array([record.layout.name for record in records]),
        hand=column(lambda pose: pose.hand, ""),
        hand_index=column(lambda pose: pose.hand_index, 0),
        xyz_mm=column(lambda pose: pose.xyz, no_joints),
        uvz=column(lambda pose: pose.uvz, no_joints),
        spread_mm=column(lambda pose: pose.spread, no_joints),
        error_mm=column(lambda pose: pose.error_mm, no_joints[:, 0]),
        center_mm=column(lambda pose: pose.center, [np.nan] * 3),
        cube_mm=column(lambda pose: pose.cube, np.nan),
        joints=np.array(joints),
        camera=column(lambda pose: [pose.camera.fx, pose.camera.fy, pose.camera.cx, pose.camera.cy], [np.nan] * 4),
        distortion=column(lambda pose: json.dumps(pose.camera.to_dict()["distortion"]), "null"),
        warnings=column(warning_codes, ""),
        unit=column(lambda pose: str(pose.depth_unit), ""),
        time_s=column(lambda pose: np.nan if pose.time is None else pose.time, np.nan),
        picture=column(lambda pose: pose.picture, ""),
    )
    return data.getvalue()


LINES: dict[str, tuple[str, Callable[[Record], str]]] = {
    "jsonl": ("", _json_line),
    "csv": (",".join(CSV_COLUMNS) + "\n", _csv_rows),
    "uvd": ("", _uvd_line),
}
"""Formats that grow line by line: the header, and the lines of a record."""

FILES: dict[str, Callable[[Sequence[Record]], bytes]] = {
    "json": json_bytes,
    "npz": npz_bytes,
    "mcap": mcap_bytes,
}
"""Formats that are written at the end."""
