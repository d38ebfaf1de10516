"""Records that are in a file more than once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from handpose.datasets.label_record import LabelRecord
from handpose.errors import HandPoseError

_SAME = 0.05  # px and mm: labels are written with two or three decimals


def without_duplicates(records: Mapping[int, LabelRecord], path: Path) -> list[LabelRecord]:
    """Return the first record of each hand in each image.

    Args:
        records: The records by the number of their line, ascending.
        path: The file of records.

    Raises:
        HandPoseError: Two records of a hand have different labels; the message names their lines.
    """
    first: dict[tuple[str, str, int], int] = {}
    for number, record in records.items():
        file = os.path.normpath(path.parent / record.source)
        earlier = first.setdefault((file, record.hand, record.hand_index), number)
        other = records[earlier]
        if other.layout == record.layout and not np.allclose(other.uvz, record.uvz, atol=_SAME, equal_nan=True):
            raise HandPoseError(
                f"{path}, lines {earlier} and {number}: different labels of the same {record.hand} hand in "
                f"{record.source}; remove one of them"
            )
    return [records[number] for number in first.values()]
