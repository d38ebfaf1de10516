"""Tables of records, with one row per hand and the fields of a JSON record."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from handpose.results.records import Record

_NUMBERS = pa.list_(pa.float64())

SCHEMA = pa.schema(
    {
        "source": pa.string(),
        "status": pa.string(),
        "model": pa.string(),
        "layout": pa.string(),
        "hand": pa.string(),
        "hand_index": pa.int64(),
        "joints": pa.list_(pa.string()),
        "xyz_mm": pa.list_(_NUMBERS),
        "uvz": pa.list_(_NUMBERS),
        "spread_mm": pa.list_(_NUMBERS),
        "error_mm": _NUMBERS,
        "center_mm": _NUMBERS,
        "cube_mm": pa.float64(),
        "camera": pa.struct(
            {
                **dict.fromkeys(("fx", "fy", "cx", "cy"), pa.float64()),
                **dict.fromkeys(("width", "height"), pa.int64()),
            }
        ),
        "warnings": pa.list_(pa.struct({"code": pa.string(), "message": pa.string()})),
        "reason": pa.string(),
    }
)
"""Columns of the table: the fields of a record, null if a record does not have them."""


def records_table(records: Sequence[Record]) -> pa.Table:
    """Return records as rows, in order."""
    return pa.Table.from_pylist([record.to_dict() for record in records], schema=SCHEMA)


def encode_parquet(table: pa.Table) -> bytes:
    """Return a table as the bytes of a Parquet file."""
    file = io.BytesIO()
    pq.write_table(table, file, compression="zstd")
    return file.getvalue()
