"""Tables of records: Arrow tables with one row per hand, and data frames with one row per joint."""

from __future__ import annotations

import io
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

from handpose.errors import HandPoseError
from handpose.io.text import as_unicode
from handpose.results.joint_rows import CSV_COLUMNS, joint_rows
from handpose.results.records import Record

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


@cache
def table_schema() -> pa.Schema:
    """Return the columns of a table: the fields of a record, null if a record does not have them.

    Raises:
        HandPoseError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
    except ImportError:
        raise HandPoseError("tables require pyarrow: pip install 'handpose[table]'") from None
    numbers = pa.list_(pa.float64())
    return pa.schema(
        {
            "source": pa.string(),
            "status": pa.string(),
            "model": pa.string(),
            "layout": pa.string(),
            "hand": pa.string(),
            "hand_index": pa.int64(),
            "joints": pa.list_(pa.string()),
            "xyz_mm": pa.list_(numbers),
            "uvz": pa.list_(numbers),
            "spread_mm": pa.list_(numbers),
            "error_mm": numbers,
            "center_mm": numbers,
            "cube_mm": pa.float64(),
            "camera": pa.struct(
                {
                    **dict.fromkeys(("fx", "fy", "cx", "cy"), pa.float64()),
                    **dict.fromkeys(("width", "height"), pa.int64()),
                    "distortion": pa.struct({"model": pa.string(), "coefficients": numbers}),
                }
            ),
            "warnings": pa.list_(pa.struct({"code": pa.string(), "message": pa.string()})),
            "time_s": pa.float64(),
            "picture": pa.string(),
            "reason": pa.string(),
            "unit": pa.string(),
        }
    )


def to_table(records: Iterable[Record]) -> pa.Table:
    """Return poses as an Arrow table: one row per hand, with the fields of `HandPose.to_dict`, units as text.

    Parquet files, from `handpose predict -o out.parquet` or a cluster, contain the same columns.

    Raises:
        HandPoseError: pyarrow is not installed.
    """
    schema = table_schema()
    import pyarrow as pa

    rows = [record.to_dict() for record in records]
    for row in rows:
        if "unit" in row:
            row["unit"] = str(row["unit"])  # a number or a name
        row |= {name: as_unicode(value) for name, value in row.items() if isinstance(value, str)}
    return pa.Table.from_pylist(rows, schema=schema)


def encode_parquet(table: pa.Table) -> bytes:
    """Return a table as the bytes of a Parquet file."""
    import pyarrow.parquet as pq

    file = io.BytesIO()
    pq.write_table(table, file, compression="zstd")
    return file.getvalue()


def to_dataframe(records: Iterable[Record]) -> pd.DataFrame:
    """Return poses as a pandas data frame: one row per joint, with the columns of the CSV format.

    A pose without a hand has NaN in all numbers; a failed frame is a single row with its `reason`.

    Raises:
        HandPoseError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError:
        raise HandPoseError("data frames require pandas: pip install 'handpose[table]'") from None
    return pd.DataFrame([row for record in records for row in joint_rows(record)], columns=list(CSV_COLUMNS))
