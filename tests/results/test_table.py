"""Tables and data frames of poses."""

from __future__ import annotations

import csv
import io
import os
from dataclasses import replace

import numpy as np
import pytest

from handpose import MSRA21, Camera, HandPose, PoseWarning, to_dataframe, to_table
from handpose.io.depth.units import DepthUnit
from handpose.results.formats import LINES, npz_bytes
from handpose.results.records import FailedFrame
from handpose.results.table import encode_parquet

CAMERA = Camera(200.0, 200.0, 31.5, 23.5, 64, 48)


def records() -> list[HandPose | FailedFrame]:
    xyz = np.random.default_rng(1).uniform((-90.0, -90.0, 310.0), (90.0, 90.0, 490.0), (21, 3))
    pose = HandPose(
        *(xyz, CAMERA.project(xyz), np.full((21, 3), 2.0), np.full(21, 5.0)),
        *(MSRA21, "ok", "left", xyz.mean(axis=0), 250.0, CAMERA),
        **{"model": "m", "source": "a.png", "warnings": (PoseWarning("code", "why"),)},
    )
    none = HandPose.no_hand(MSRA21, hand="right", cube=250.0, camera=CAMERA, source="b.png", reason="why")
    return [pose, none, FailedFrame("c.png", "not a depth image", MSRA21)]


def test_a_parquet_file_returns_each_record() -> None:
    pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    given = records()
    table = pq.read_table(io.BytesIO(encode_parquet(to_table(iter(given)))))
    rows = [{key: value for key, value in row.items() if value is not None} for row in table.to_pylist()]
    assert rows == [record.to_dict() for record in given]


@pytest.mark.parametrize("unit", [0.125, "m", "nyu"])
def test_every_format_states_the_unit_of_the_depth_file(unit: DepthUnit) -> None:
    pytest.importorskip("pyarrow")
    hand, none, failed = records()
    assert isinstance(hand, HandPose)
    hand = replace(hand, depth_unit=unit, time=1.5, picture="a-hand.png")
    none = HandPose.no_hand(MSRA21, hand="right", cube=250.0, camera=CAMERA, depth_unit=unit)
    rows = to_table([hand, none, failed]).to_pylist()
    for pose, row in zip((hand, none), rows, strict=False):
        assert pose.to_dict()["unit"] == unit
        assert HandPose.from_dict(row).depth_unit == HandPose.from_dict(pose.to_dict()).depth_unit == unit
    assert rows[2]["unit"] is None
    with np.load(io.BytesIO(npz_bytes([hand, none, failed]))) as arrays:
        assert arrays["unit"].tolist() == [str(unit), str(unit), ""]
        np.testing.assert_array_equal(arrays["time_s"], [1.5, np.nan, np.nan])
        assert arrays["picture"].tolist() == ["a-hand.png", "", ""]
    assert HandPose.from_dict(to_table([records()[0]]).to_pylist()[0]).depth_unit == "mm"  # which rows do not state


def test_a_file_name_that_is_not_unicode_does_not_lose_the_other_records() -> None:
    pytest.importorskip("pyarrow")
    hand, none, _ = records()
    assert isinstance(hand, HandPose)
    name = os.fsdecode(b"\xff.png")
    rows = to_table([replace(hand, source=name), FailedFrame(name, f"{name} is damaged", MSRA21), none]).to_pylist()
    assert [row["source"] for row in rows] == [r"\udcff.png", r"\udcff.png", "b.png"]
    assert rows[0]["xyz_mm"] == hand.to_dict()["xyz_mm"]
    assert rows[1]["reason"] == r"\udcff.png is damaged"


def test_a_data_frame_has_the_numbers_of_the_csv_format() -> None:
    pytest.importorskip("pandas")
    given = records()
    frame = to_dataframe(given)
    assert len(frame) == 21 + 21 + 1
    np.testing.assert_array_equal(frame[["x_mm", "y_mm", "z_mm"]][:21].to_numpy(dtype=float), given[0].xyz)  # type: ignore[union-attr]
    assert frame["error_mm"].dtype == np.float64
    header, lines = LINES["csv"]
    rows = csv.DictReader(io.StringIO(header + "".join(map(lines, given))))
    for row, (_, expected) in zip(rows, frame.iterrows(), strict=True):
        assert row["joint"] == expected["joint"]
        assert row["reason"] == expected["reason"]
        for name in ("x_mm", "v", "spread_z_mm", "hand_index"):
            number = float(row[name] or "nan")
            assert number == pytest.approx(expected[name], abs=0.005, nan_ok=True)
