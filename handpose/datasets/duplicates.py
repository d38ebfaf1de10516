"""Records that are in a file more than once, and images that are in two files of records."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from handpose.datasets.label_record import LabelRecord, resolve_source
from handpose.errors import HandPoseError
from handpose.io.text import MAX_LABELS_BYTES, read_text

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
        earlier = first.setdefault((image_path(path, record.source), record.hand, record.hand_index), number)
        other = records[earlier]
        if other.layout == record.layout and not np.allclose(other.uvz, record.uvz, atol=_SAME, equal_nan=True):
            raise HandPoseError(
                f"{path}, lines {earlier} and {number}: different labels of the same {record.hand} hand in "
                f"{record.source}; remove one of them"
            )
    return [records[number] for number in first.values()]


def images_in_both(records: Iterable[LabelRecord], path: Path, other: Path) -> int:
    """Return how many images of the records in `path` are also in another file of records.

    Invalid lines of the other file are ignored.
    """
    images = {image_path(path, record.source) for record in records}
    others = set()
    for line in read_text(other, MAX_LABELS_BYTES).splitlines():
        try:
            others.add(image_path(other, resolve_source(json.loads(line)["source"], other.parent)))
        except (ValueError, KeyError, TypeError):
            continue
    return len(images & others)


def image_path(path: Path, source: str) -> str:
    """Return the absolute path of the image of a record in `path`, whose `source` was resolved, in one spelling."""
    return os.path.abspath(path.parent / source)  # noqa: PTH100 - keeps links
