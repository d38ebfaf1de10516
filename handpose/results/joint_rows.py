"""Rows of the CSV format and of data frames: one per joint."""

from __future__ import annotations

from typing import Any

import numpy as np

from handpose.results.pose import HandPose
from handpose.results.records import FailedFrame, Record

CSV_COLUMNS = (
    "source",
    "status",
    "model",
    "layout",
    "hand",
    "joint",
    "x_mm",
    "y_mm",
    "z_mm",
    "u",
    "v",
    "spread_x_mm",
    "spread_y_mm",
    "spread_z_mm",
    "error_mm",
    "reason",
    "warnings",
    "hand_index",
)
"""Columns of the CSV format and of data frames."""


def joint_rows(record: Record) -> list[tuple[Any, ...]]:
    """Return one row of `CSV_COLUMNS` per joint, or a single row with the reason of a failure and without numbers."""
    if isinstance(record, FailedFrame):
        return [(record.source, record.status, "", "", "", "", *[None] * 9, record.reason, "", None)]
    shared = (record.source, record.status, record.model, record.layout.name, record.hand)
    numbers = np.column_stack([record.xyz, record.uvz[:, :2], record.spread, record.error_mm])
    return [
        (*shared, joint, *row, record.reason, warning_codes(record), record.hand_index)
        for joint, row in zip(record.layout.joints, numbers.tolist(), strict=True)
    ]


def warning_codes(pose: HandPose) -> str:
    """Return the codes of the warnings, separated by spaces."""
    return " ".join(warning.code for warning in pose.warnings)
