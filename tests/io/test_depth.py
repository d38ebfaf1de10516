from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from typing import Any

import cv2
import numpy as np
import pytest

from handpose.errors import DepthReadError, HandPoseError
from handpose.io.depth.read import read_depth, to_depth
from handpose.io.depth.units import DepthUnitWarning

DEPTH = np.arange(40 * 60, dtype=np.uint16).reshape(40, 60) + 300
DEPTH[:4] = 0


def png(width: int, height: int, rows: bytes, bits: int = 16, color: int = 0) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_png(tmp_path) -> None:
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in DEPTH)
    (tmp_path / "a.png").write_bytes(png(60, 40, rows))
    depth = read_depth(tmp_path / "a.png")
    assert depth.dtype == np.float32
    assert np.array_equal(depth, DEPTH)
    assert np.array_equal(read_depth(tmp_path / "a.png", unit=0.5), DEPTH * np.float32(0.5))


def test_tiff_npy_and_npz(tmp_path) -> None:
    meters = (DEPTH / 1000).astype(np.float32)
    cv2.imwrite(str(tmp_path / "a.tif"), DEPTH)
    cv2.imwrite(str(tmp_path / "b.tiff"), meters)
    np.save(tmp_path / "c.npy", DEPTH.astype(">u2"))
    np.save(tmp_path / "d.npy", np.asfortranarray(meters.astype(np.float64)))
    np.savez(tmp_path / "e.npz", DEPTH)
    np.savez_compressed(tmp_path / "f.npz", depth=DEPTH, rgb=np.zeros((2, 2, 3), np.uint8))
    for name in ("a.tif", "c.npy", "e.npz", "f.npz"):
        assert np.array_equal(read_depth(tmp_path / name), DEPTH), name
    for name in ("b.tiff", "d.npy"):
        assert np.allclose(read_depth(tmp_path / name, unit="m"), DEPTH, atol=1e-3), name


def test_msra_bin_is_a_window_of_the_image(tmp_path) -> None:
    window = DEPTH[10:20, 5:25].astype("<f4")
    (tmp_path / "a.bin").write_bytes(struct.pack("<6i", 60, 40, 5, 10, 25, 20) + window.tobytes())
    depth = read_depth(tmp_path / "a.bin")
    assert depth.shape == (40, 60)
    assert np.array_equal(depth[10:20, 5:25], window)
    assert (depth > 0).sum() == (window > 0).sum()


def test_nyu_coding_is_green_times_256_plus_blue(tmp_path) -> None:
    rgb = np.stack([np.full_like(DEPTH, 77), DEPTH >> 8, DEPTH & 255], -1).astype(np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in rgb)
    (tmp_path / "a.png").write_bytes(png(60, 40, rows, bits=8, color=2))
    assert np.array_equal(read_depth(tmp_path / "a.png", unit="nyu"), DEPTH)


def test_nan_infinite_and_negative_values_are_missing(tmp_path) -> None:
    stored = np.full((40, 60), 500.0)
    stored[0, :4] = [np.nan, np.inf, -np.inf, -3.0]
    np.save(tmp_path / "a.npy", stored)
    depth = read_depth(tmp_path / "a.npy")
    assert depth[0, :4].tolist() == [0, 0, 0, 0]
    assert np.isfinite(depth).all()


def test_an_array_of_millimeters_is_not_copied() -> None:
    depth = np.full((4, 5), 700, np.float32)
    assert to_depth(depth) is depth
    assert to_depth(depth[:, ::2]).flags.c_contiguous


@pytest.mark.parametrize(
    "bad", [np.zeros((4, 5, 3)), np.zeros(7), np.zeros((0, 4)), np.array([["a"]]), np.ones((3, 3), bool)]
)
def test_arrays_other_than_depth_are_rejected(bad: np.ndarray) -> None:
    with pytest.raises(HandPoseError, match=r"depth must be \(H, W\)"):
        to_depth(bad)


@pytest.mark.parametrize("unit", ["cm", 0, -1, float("inf"), None, True])
def test_unknown_units_are_rejected(unit: object) -> None:
    with pytest.raises(HandPoseError, match="unit must be"):
        to_depth(np.ones((2, 2)), unit)


class TestRejected:
    def assert_rejected(self, tmp_path, name: str, content: bytes, message: str, unit="mm") -> None:
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(DepthReadError, match=message) as error:
            read_depth(path, unit)
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)

    def test_pictures(self, tmp_path) -> None:
        gray = np.zeros((8, 8), np.uint8)
        color = np.zeros((8, 8, 3), np.uint16)
        self.assert_rejected(tmp_path, "a.png", cv2.imencode(".png", gray)[1].tobytes(), "8-bit gray PNG.*16-bit")
        self.assert_rejected(tmp_path, "b.png", cv2.imencode(".png", color)[1].tobytes(), "16-bit RGB PNG")
        self.assert_rejected(tmp_path, "c.tif", cv2.imencode(".tif", gray)[1].tobytes(), "1 channels, 8 bits")
        self.assert_rejected(tmp_path, "d.tif", cv2.imencode(".tif", color)[1].tobytes(), "3 channels")
        self.assert_rejected(
            tmp_path, "e.png", cv2.imencode(".png", DEPTH)[1].tobytes(), "is a coding of 8-bit RGB PNGs", unit="nyu"
        )
        self.assert_rejected(tmp_path, "f.jpg", b"", "not a depth format")

    def test_missing_files_and_folders(self, tmp_path) -> None:
        with pytest.raises(DepthReadError, match="no such file"):
            read_depth(tmp_path / "none.png")
        with pytest.raises(DepthReadError, match="is a folder"):
            read_depth(tmp_path)

    @pytest.mark.skipif(os.name == "nt", reason="links require permissions there")
    def test_a_file_that_the_system_cannot_find_may_exist(self, tmp_path) -> None:
        (tmp_path / "link.png").symlink_to(tmp_path / "link.png")
        with pytest.raises(DepthReadError, match=r"link.png: cannot be read \(Too many levels of symbolic links\)"):
            read_depth(tmp_path / "link.png")

    @pytest.mark.parametrize("suffix", [".png", ".tif", ".npy", ".npz", ".bin"])
    def test_truncation_at_any_byte(self, tmp_path, suffix: str) -> None:
        file = io.BytesIO()
        if suffix == ".npy":
            np.save(file, DEPTH)
        elif suffix == ".npz":
            np.savez_compressed(file, DEPTH)
        elif suffix == ".bin":
            file.write(struct.pack("<6i", 60, 40, 0, 0, 60, 40) + DEPTH.astype("<f4").tobytes())
        else:
            file.write(cv2.imencode(suffix, DEPTH)[1].tobytes())
        data = file.getvalue()
        for length in range(0, len(data) - 1, max(1, len(data) // 60)):
            path = tmp_path / f"truncated{suffix}"
            path.write_bytes(data[:length])
            try:
                depth = read_depth(path)
            except DepthReadError:
                continue
            # The directory of a TIFF can precede its pixels: truncation that loses no pixel is harmless.
            assert suffix == ".tif"
            assert np.array_equal(depth, DEPTH)

    def test_flipped_bytes_of_a_png(self, tmp_path) -> None:
        data = bytearray(cv2.imencode(".png", DEPTH)[1].tobytes())
        path = tmp_path / "flip.png"
        for at in range(0, len(data), 7):
            data[at] ^= 0x55
            path.write_bytes(bytes(data))
            with pytest.raises(DepthReadError):
                read_depth(path)
            data[at] ^= 0x55

    def test_missing_and_extra_pixels(self, tmp_path) -> None:
        self.assert_rejected(tmp_path, "a.png", png(60, 40, b"\0" * 500), "different number of pixels")
        self.assert_rejected(tmp_path, "b.png", png(60, 40, b"\0" * 50_000), "different number of pixels")

    def test_absurd_sizes(self, tmp_path) -> None:
        self.assert_rejected(tmp_path, "a.png", png(60_000, 60_000, b""), "60000 x 60000")
        self.assert_rejected(tmp_path, "b.bin", struct.pack("<6i", 1 << 30, 1 << 30, 0, 0, 4, 4), "MSRA's header")
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header, {"descr": "<u2", "fortran_order": False, "shape": (1 << 20, 1 << 20)}
        )
        self.assert_rejected(tmp_path, "c.npy", header.getvalue(), "1048576 x 1048576")
        with zipfile.ZipFile(tmp_path / "d.npz", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("depth.npy", header.getvalue() + bytes(1 << 20))
        with pytest.raises(DepthReadError, match="1048576 x 1048576"):
            read_depth(tmp_path / "d.npz")

    def test_wrong_msra_headers(self, tmp_path) -> None:
        body = np.zeros(16, "<f4").tobytes()
        self.assert_rejected(tmp_path, "a.bin", struct.pack("<6i", 60, 40, 50, 0, 70, 4) + body, "not inside")
        self.assert_rejected(tmp_path, "b.bin", struct.pack("<6i", 60, 40, 9, 0, 5, 4) + body, "not inside")
        self.assert_rejected(
            tmp_path, "c.bin", struct.pack("<6i", 60, 40, 0, 0, 5, 4) + body, "declares 104 bytes, got 88"
        )

    def test_pickles_are_not_opened(self, tmp_path) -> None:
        class Trap:
            def __reduce__(self):
                return (pytest.fail, ("a pickle was opened",))

        trap = io.BytesIO()
        np.save(trap, np.array([[Trap()]], dtype=object), allow_pickle=True)
        self.assert_rejected(tmp_path, "a.npy", trap.getvalue(), "array of numbers")
        with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
            archive.writestr("depth.npy", trap.getvalue())
        with pytest.raises(DepthReadError, match="array of numbers"):
            read_depth(tmp_path / "b.npz")


@pytest.mark.parametrize(
    ("factor", "dtype", "likely"),
    [
        (1 / 1000, np.float32, "likely m$"),
        (8, np.uint16, "likely 0.125"),
        (10, np.uint16, "likely 0.125 .*or 0.1$"),
        (0.1, np.float32, "likely 10$"),
    ],
)
def test_a_likely_unit_is_suggested(tmp_path, factor: float, dtype: type, likely: str) -> None:
    scene = np.full((120, 160), 900.0)
    scene[40:80, 60:100] = 600.0  # a hand in front of a wall
    np.save(tmp_path / "a.npy", (scene * factor).astype(dtype))
    with pytest.warns(DepthUnitWarning, match=likely):
        read_depth(tmp_path / "a.npy")


def test_plausible_units_do_not_warn(tmp_path, recwarn) -> None:
    scene = np.full((120, 160), 3500, np.uint16)
    scene[40:80, 60:100] = 600
    np.save(tmp_path / "a.npy", scene)
    read_depth(tmp_path / "a.npy")
    assert not recwarn.list


@pytest.mark.parametrize(
    ("array", "advice"),
    [
        (np.zeros((48, 64, 1), np.uint16), r"\(48, 64, 1\) uint16; use depth\[\.\.\., 0\]"),
        (np.zeros((1, 48, 64), np.uint16), r"use depth\[0\]"),
        (np.zeros((3, 48, 64), np.uint16), "pass several frames as a list"),
        ([500] * 64, "each element of a list is one image"),
        (None, "got None"),
    ],
)
def test_arrays_of_other_shapes_are_refused_with_advice(array: Any, advice: str) -> None:
    with pytest.raises(HandPoseError, match=advice):
        to_depth(array)


@pytest.mark.shared
def test_real_and_reference_frames(reference) -> None:
    from tests.helpers.paths import SHARED

    tree = SHARED / "reference" / "minidata"
    crops = reference("crops.npz")
    for k, (name, unit) in enumerate(
        [("NYU/test/depth_1_0000001.png", "nyu"), ("NYU/test/depth_1_0000002.png", "nyu"),
         ("ICVL/Testing_2014/test_seq_1/image_0000.png", "mm"), ("ICVL/Testing_2014/test_seq_2/image_0000.png", "mm"),
         ("MSRA/P0/1/000000_depth.bin", "mm"), ("MSRA/P0/1/000001_depth.bin", "mm")]
    ):  # fmt: skip
        assert np.array_equal(read_depth(tree / name, unit), crops[f"f{k}/depth"]), name
    with pytest.warns(DepthUnitWarning, match=r"likely 0\.125"):
        read_depth(next((SHARED / "frames" / "sr305").glob("*.png")))
