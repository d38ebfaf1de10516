from __future__ import annotations

import os
import random
import re
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handpose.errors import DepthReadError, HandPoseError
from handpose.io.depth.read import read_depth
from handpose.io.depth.units import DepthUnitWarning
from tests.fuzz.fuzz import change
from tests.helpers.hostile import DEPTH, MEMORY, ROWS, Format, Lost, formats, npy, png, png_chunk, watch
from tests.helpers.planted import planted

FORMATS = formats()
DEPTH_FORMATS = ("png", "nyu png", "tiff", "npy", "npz", "msra bin")
PLANTED = list(planted())
FAULTS = sorted({each.fault for each in PLANTED})
QUICK = [name for name in FORMATS if name not in ("config", "safetensors")]  # these build a network each time


@pytest.mark.parametrize(
    "fault", [pytest.param(fault, marks=[pytest.mark.slow] * (fault == "bomb")) for fault in FAULTS]
)
def test_planted_faults_are_rejected_or_harmless(fault: str, tmp_path: Path) -> None:
    with watch() as attempt:
        for each in (each for each in PLANTED if each.fault == fault):
            value = attempt(FORMATS[each.format], each.content, tmp_path)
            if each.refusal is None:
                assert not isinstance(value, Exception), value
            else:
                assert isinstance(value, HandPoseError), each
                assert re.search(each.refusal, str(value)), value
                assert isinstance(value, DepthReadError) == (each.format in DEPTH_FORMATS)


def test_nan_and_infinite_values_are_missing(tmp_path: Path) -> None:
    for each in PLANTED:
        if each.fault == "NaN, infinite, negative, nothing" and each.format == "npy":
            (tmp_path / "a.npy").write_bytes(each.content)
            stored = np.load(tmp_path / "a.npy")
            valid = np.isfinite(stored) & (stored > 0) & (stored < 3e38)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DepthUnitWarning)  # one image has no positive value
                depth = read_depth(tmp_path / "a.npy")
            assert np.array_equal(depth, np.where(valid, stored, 0).astype(np.float32))


@pytest.mark.parametrize("name", FORMATS)
def test_valid_files_are_read(name: str, tmp_path: Path) -> None:
    with watch() as attempt:
        for content in FORMATS[name].good:
            assert not isinstance(attempt(FORMATS[name], content, tmp_path), Exception)


@pytest.mark.parametrize("name", ["png", "nyu png", "npy", "npz", "msra bin", "nyu labels", "safetensors"])
def test_truncated_files_are_rejected(name: str, tmp_path: Path) -> None:
    kind, draw = FORMATS[name], random.Random(name)
    with watch() as attempt:
        for content in kind.good:
            for length in draw.sample(range(len(content)), 8 if name == "safetensors" else min(len(content), 100)):
                assert isinstance(attempt(kind, content[:length], tmp_path), HandPoseError), length


@pytest.mark.parametrize("name", ["png", "nyu png", "npz"])
def test_bit_flips_are_detected_by_checksums(name: str, tmp_path: Path) -> None:
    kind, draw = FORMATS[name], random.Random(name)
    with watch() as attempt:
        for content in kind.good:
            expected = attempt(kind, content, tmp_path)
            for _ in range(200):
                data = bytearray(content)
                data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
                value = attempt(kind, bytes(data), tmp_path)
                assert isinstance(value, DepthReadError) or np.array_equal(value, expected)


@pytest.mark.parametrize("name", QUICK)
def test_changed_files_cause_no_other_error(name: str, tmp_path: Path) -> None:
    kind = FORMATS[name]

    @settings(max_examples=100, deadline=None)
    @given(st.sampled_from(kind.good), st.randoms(use_true_random=False), st.booleans())
    def read(content: bytes, draw: random.Random, repaired: bool) -> None:
        changed = change(content, draw, list(kind.good))
        attempt(kind, kind.repair(changed) if repaired else changed, tmp_path)

    with watch() as attempt:
        read()


@pytest.mark.parametrize("name", QUICK)
def test_random_bytes_cause_no_other_error(name: str, tmp_path: Path) -> None:
    @settings(max_examples=30, deadline=None)
    @given(st.binary(max_size=200))
    def read(content: bytes) -> None:
        attempt(FORMATS[name], content, tmp_path)

    with watch() as attempt:
        read()


def test_the_checks_detect_violations(tmp_path: Path) -> None:
    def assert_violation(read: Any) -> None:
        with watch() as attempt, pytest.raises(Lost):
            attempt(Format("a", (b"",), read), b"", tmp_path)

    def several_lines(path: Path) -> None:
        raise HandPoseError("one\ntwo")

    assert_violation(lambda path: np.ones(MEMORY // 4))
    assert_violation(lambda path: os.write(2, b"libpng warning"))
    assert_violation(lambda path: warnings.warn("below", RuntimeWarning, stacklevel=1))
    assert_violation(lambda path: 1 / 0)
    assert_violation(several_lines)


@pytest.mark.slow
def test_the_largest_images_are_read(tmp_path: Path) -> None:
    side = 7071
    row = np.arange(side, dtype=np.uint16)
    stored = np.broadcast_to(row, (side, side))
    rows = (b"\0" + row.astype(">u2").tobytes()) * side
    with watch() as attempt:
        for name, content in (("png", png(rows, side, side)), ("npy", npy(stored))):
            depth = attempt(FORMATS[name], content, tmp_path)
            assert np.array_equal(depth[::500], stored[::500])
            assert depth.shape == stored.shape


def test_a_named_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(DepthReadError, match="no such file"):
        read_depth(tmp_path / "a.png")


def test_an_animation_is_read_as_its_first_image(tmp_path: Path) -> None:
    frame = struct.pack(">5I2H2B", 0, 8, 6, 0, 0, 1, 1, 0, 0)
    more = png_chunk(b"acTL", struct.pack(">II", 2, 0)) + png_chunk(b"fcTL", frame)
    (tmp_path / "a.png").write_bytes(png(ROWS, more=more))
    assert np.array_equal(read_depth(tmp_path / "a.png"), DEPTH)
