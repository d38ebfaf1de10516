"""Every format that the package reads, small good files of each, and the rule that a reader must keep.

A reader returns what it should or raises one line of `HandPoseError`: no other exception, no warning, nothing on
stderr from the libraries below, no more than `MEMORY` and `SECONDS`.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import struct
import sys
import tempfile
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from safetensors.numpy import save

from handpose.datasets.catalog import open_dataset
from handpose.datasets.matfile import write_mat
from handpose.errors import HandPoseError
from handpose.geometry.camera import Camera
from handpose.geometry.layouts import LAYOUTS, NYU14
from handpose.geometry.uvd import read_predictions
from handpose.io.depth.read import read_depth
from handpose.io.depth.units import DepthUnitWarning
from handpose.localization.centers import read_centers
from handpose.network.config import JGRP2OConfig
from handpose.results.pose import HandPose
from handpose.weights.resolve import find_weights
from handpose.weights.tensorflow_bundle import crc32c, read_variables

MEMORY = 1 << 30
"""Bytes of address space that one reading may add: a 50-megapixel image needs most of them."""

SECONDS = 20.0
"""That one reading may take, on a busy machine."""

DEPTH = np.arange(12 * 16, dtype=np.uint16).reshape(12, 16) + 300
DEPTH[:2] = 0


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        file: its path, relative to the folder it is read in.
        good: small files of this kind.
        read: what reads the file, and checks that what comes out is sound.
        beside: files that it needs beside it.
        repair: puts the checksums of a changed file right, so that readers see what lies behind them.
    """

    file: str
    good: tuple[bytes, ...]
    read: Callable[[Path], Any]
    beside: dict[str, bytes] = field(default_factory=dict)
    repair: Callable[[bytes], bytes] = bytes


class Lost(AssertionError):  # noqa: N818
    """A reader broke the rule."""


@contextlib.contextmanager
def watch() -> Iterator[Callable[[Format, bytes, Path], Any]]:
    """What reads a file's content in a folder under the rule: gives its value or its error, or raises `Lost`."""
    with tempfile.TemporaryFile() as below, warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DepthUnitWarning)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limits = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, limits[1]))
        sys.stderr.flush()
        stderr = os.dup(2)
        os.dup2(below.fileno(), 2)  # where C libraries write, out of sys.stderr's sight
        written: set[Path] = set()

        def attempt(kind: Format, content: bytes, folder: Path) -> Any:
            path = folder / kind.file
            if path not in written:
                for name, data in {**kind.beside, kind.file: content}.items():
                    (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    (folder / name).write_bytes(data)
                written.add(path)
            with path.open("r+b") as file:  # far faster than making it anew
                file.write(content)
                file.truncate()
            start, said = time.monotonic(), os.fstat(below.fileno()).st_size
            try:
                value = kind.read(path)
            except HandPoseError as error:
                value = error
                if "\n" in str(error) or len(str(error)) > 1000:
                    raise Lost(f"{path}: not one line: {str(error)[:300]}") from error
            except Exception as error:
                raise Lost(f"{path}: {type(error).__name__}: {str(error)[:300]}") from error
            if os.fstat(below.fileno()).st_size > said:
                raise Lost(f"{path}: on stderr: {os.pread(below.fileno(), 300, said)!r}")
            if time.monotonic() - start > SECONDS:
                raise Lost(f"{path}: took {time.monotonic() - start:.0f} s")
            return value

        try:
            yield attempt
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            resource.setrlimit(resource.RLIMIT_AS, limits)


# ------------------------------------------------------------------------------------------ depth files


def read_sound_depth(path: Path, unit: Any = "mm") -> np.ndarray:
    depth = read_depth(path, unit)
    assert depth.ndim == 2
    assert depth.dtype == np.float32
    assert ((depth >= 0) & np.isfinite(depth)).all()
    return depth


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    rows: bytes,
    width: int = 16,
    height: int = 12,
    bits: int = 16,
    colour: int = 0,
    interlace: int = 0,
    more: bytes = b"",
) -> bytes:
    """A PNG of rows that each begin with their filter's number; `more` are chunks before the pixels."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlace))
    return b"\x89PNG\r\n\x1a\n" + header + more + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")


ROWS = b"".join(b"\0" + row.tobytes() for row in DEPTH.astype(">u2"))
CODED = np.stack([np.zeros_like(DEPTH), DEPTH >> 8, DEPTH & 255], -1).astype(np.uint8)
ADAM7 = [DEPTH[y::dy, x::dx].astype(">u2") for x, y, dx, dy in (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))]  # fmt: skip
INTERLACED = b"".join(b"\0" + row.tobytes() for image in ADAM7 for row in image)


def repair_png(data: bytes) -> bytes:
    out, at = bytearray(data[:8]), 8
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if at + 12 + length > len(data):
            break
        body = data[at + 8 : at + 8 + length]
        if kind == b"IDAT":
            with contextlib.suppress(zlib.error):
                body = zlib.compress(zlib.decompressobj().decompress(body, 1 << 20))
        out += png_chunk(kind, body)
        at += 12 + length
    return bytes(out) + data[at:]


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def npz(content: bytes, name: str = "depth.npy", method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr(name, content)
    return file.getvalue()


def repair_npz(data: bytes) -> bytes:
    """What lies in the archive, packed anew, if it can be taken out at all."""
    start = data.find(b"\x93NUMPY")
    return data if start < 0 else npz(data[start:-100], method=zipfile.ZIP_STORED)


def msra(window: np.ndarray, header: tuple[int, ...] = (16, 12, 3, 2, 9, 10)) -> bytes:
    return struct.pack("<6i", *header) + window.astype("<f4").tobytes()


def tiff(tags: dict[int, tuple[int, int]], pixels: bytes = DEPTH.astype("<u2").tobytes()) -> bytes:
    """A TIFF of one strip of these tags (type, value), instead of or beside those it needs."""
    usual = {256: (4, 16), 257: (4, 12), 258: (3, 16), 259: (3, 1), 262: (3, 1), 273: (4, 0), 277: (3, 1), 278: (4, 12),
             279: (4, len(pixels)), 339: (3, 1)}  # fmt: skip
    entries = sorted((usual | tags).items())
    usual_start = 8 + 2 + 12 * len(entries) + 4
    out = struct.pack("<2sHIH", b"II", 42, 8, len(entries))
    for tag, (kind, value) in entries:
        out += struct.pack("<HHII", tag, kind, 1, usual_start if tag == 273 and 273 not in tags else value)
    return out + bytes(4) + pixels


def encoded(suffix: str, image: np.ndarray, *options: int) -> bytes:
    return cv2.imencode(suffix, image, options)[1].tobytes()


METRES = (DEPTH / 1000).astype(np.float32)

# -------------------------------------------------------------------------------------------- text files

CAMERA_INFO = b"""height: 480
width: 640
K: [476.007, 0.0, 313.683, 0.0, 475.5, 242.755, 0.0, 0.0, 1.0]
roi:
  height: 0
"""
CALIBRATION = b"""image_width: 640
image_height: 480
camera_matrix:
  rows: 3
  cols: 3
  data: [4.76007e+02, 0, 313.683,
         0, 475.5, 242.755, 0, 0, 1]
"""
CAMERA_JSON = b'{"fx": 476.0, "fy": 475.5, "cx": 313.0, "cy": 242.5, "width": 640, "height": 480}'


def lines(count: int, numbers: int, first: str = "") -> bytes:
    return "".join(
        f"{first}{' '.join(f'{300 + 7 * i + j}.25' for j in range(numbers))}\n" for i in range(count)
    ).encode()


def read_sound_predictions(path: Path) -> np.ndarray:
    joints = read_predictions(path, NYU14)
    assert joints.shape[1:] == (14, 3)
    assert not np.isinf(joints).any()
    return joints


def read_sound_centers(path: Path) -> np.ndarray:
    centers = read_centers(path, y_up=True)
    assert (np.isfinite(centers).all(axis=1) | np.isnan(centers).all(axis=1)).all()
    return centers


def read_labels(name: Any, root: Path) -> np.ndarray:
    dataset = open_dataset(name, root, "test", centers="truth", subject=0 if name == "msra" else None)
    assert np.isfinite(dataset.xyz).all()
    assert len(dataset.xyz) == len(dataset.files)
    return dataset.xyz


def read_pose(path: Path) -> HandPose:
    try:
        values = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise HandPoseError("not JSON") from None  # which is json's to say
    pose = HandPose.from_dict(values)
    assert np.isfinite(pose.xyz).all() if pose.status != "no_hand" else np.isnan(pose.xyz).all()
    return pose


def poses() -> Iterator[bytes]:
    layout, camera = LAYOUTS["msra"], Camera(476.0, 475.5, 313.0, 242.5, 640, 480)
    xyz = np.arange(63.0).reshape(21, 3) + 300
    pose = HandPose(xyz, camera.project(xyz), xyz / 100, xyz[:, 0] / 100, layout, "ok", "left", xyz[0], 250.0, camera)
    for each in (pose, HandPose.no_hand(layout, hand="right", cube=250.0, camera=camera)):
        yield json.dumps(each.to_dict()).encode()


def mat(values: np.ndarray) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "joint_data.mat"
        write_mat(path, {"joint_uvd": values, "joint_xyz": values})
        return path.read_bytes()


def mat_element(body: bytes, *, packed: bool) -> bytes:
    whole = struct.pack("<II", 14, len(body)) + body
    if packed:
        whole = zlib.compress(whole)
        whole = struct.pack("<II", 15, len(whole)) + whole
    return b"MATLAB 5.0".ljust(124) + struct.pack("<H", 0x0100) + b"IM" + whole


def unpacked_mat(data: bytes) -> bytes:
    """The same file without compression, in which a changed byte changes a number."""
    out, at = data[:128], 128
    while at < len(data):
        (length,) = struct.unpack_from("<I", data, at + 4)
        out += zlib.decompress(data[at + 8 : at + 8 + length])
        at += 8 + length
    return out


LABELS = mat(np.arange(2 * 36 * 3.0).reshape(1, 2, 36, 3))

# ----------------------------------------------------------------------------------------------- weights

SMALL = JGRP2OConfig("icvl", stacks=1, features=4)
CONFIG = json.dumps(SMALL.to_dict()).encode()


def small_tensors() -> dict[str, np.ndarray]:
    from handpose.network.model import JGRP2O

    return {key: value.numpy() for key, value in JGRP2O(SMALL).state_dict().items()}


def read_weights(folder: Path) -> Any:
    model = find_weights(folder).load()
    assert all(np.isfinite(value.numpy()).all() for value in model.state_dict().values())
    return model


def safetensors(header: object, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def tf_index(entries: dict[bytes, bytes]) -> bytes:
    """A TensorFlow checkpoint's index: one block of entries, an index block that points to it, and the footer."""

    def varint(value: int) -> bytes:
        out = b""
        while value > 127:
            out, value = out + bytes([value & 127 | 128]), value >> 7
        return out + bytes([value])

    def block(pairs: dict[bytes, bytes]) -> bytes:
        body = b"".join(b"\0" + varint(len(k)) + varint(len(v)) + k + v for k, v in pairs.items()) + struct.pack(
            "<2I", 0, 1
        )
        crc = crc32c(body + b"\0")
        return body + b"\0" + struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)

    data = block(entries)
    index = block({b"z": varint(0) + varint(len(data) - 5)})
    footer = varint(0) + varint(0) + varint(len(data)) + varint(len(index) - 5)
    return data + index + footer.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)


def tf_entry(shape: tuple[int, ...], offset: int, data: bytes) -> bytes:
    crc = crc32c(data)
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    dims = b"".join(b"\x12\x02\x08" + bytes([n]) for n in shape)
    return (
        b"\x08\x01\x12" + bytes([len(dims)]) + dims + b"\x20" + bytes([offset, 0x28, len(data)])
        + b"\x35" + struct.pack("<I", masked)
    )  # fmt: skip


TF_DATA = np.arange(12, dtype="<f4").tobytes()
TF_INDEX = tf_index({b"": b"\x08\x01", b"conv2d/bias": tf_entry((4,), 0, TF_DATA[:16]),
                     b"conv2d/kernel": tf_entry((2, 4), 16, TF_DATA[16:])})  # fmt: skip


def formats() -> dict[str, Format]:
    """Every format by name."""
    tensors = save(small_tensors())
    model = Format(
        "model/model.safetensors", (tensors,), lambda p: read_weights(p.parent), {"model/config.json": CONFIG}
    )
    config = Format(
        "lying/config.json", (CONFIG,), lambda p: read_weights(p.parent), {"lying/model.safetensors": tensors}
    )
    icvl = lines(3, 48, "test_seq_1/image_0000.png ")
    return {
        "png": Format(
            "depth.png",
            (png(ROWS), png(INTERLACED, interlace=1), encoded(".png", DEPTH)),
            read_sound_depth,
            repair=repair_png,
        ),
        "nyu png": Format(
            "coded.png",
            (encoded(".png", CODED[..., ::-1]),),
            lambda path: read_sound_depth(path, "nyu"),
            repair=repair_png,
        ),
        "tiff": Format(
            "depth.tif",
            (
                *(
                    encoded(".tif", image, cv2.IMWRITE_TIFF_COMPRESSION, how)
                    for image in (DEPTH, METRES)
                    for how in (1, 5, 8)
                ),
                tiff({}),
            ),
            read_sound_depth,
        ),
        "npy": Format(
            "depth.npy", (npy(DEPTH), npy(np.asfortranarray(METRES)), npy(DEPTH.astype(">f8"))), read_sound_depth
        ),
        "npz": Format(
            "depth.npz", (npz(npy(DEPTH)), npz(npy(METRES), "a.npy", 0)), read_sound_depth, repair=repair_npz
        ),
        "msra bin": Format("depth.bin", (msra(DEPTH[2:10, 3:9]),), read_sound_depth),
        "camera json": Format("camera.json", (CAMERA_JSON,), lambda path: Camera.parse(str(path))),
        "camera yaml": Format("camera.yaml", (CAMERA_INFO, CALIBRATION), lambda path: Camera.parse(str(path))),
        "predictions": Format("a.txt", (lines(3, 42), b"nan " * 42 + b"\n"), read_sound_predictions),
        "centres": Format("centres.txt", (lines(3, 3) + b"invalid\n",), read_sound_centers),
        "icvl labels": Format(
            "icvl/Testing/test_seq_1.txt",
            (icvl,),
            lambda path: read_labels("icvl", path.parent.parent),
            {"icvl/Testing/test_seq_2.txt": icvl},
        ),
        "msra labels": Format(
            "msra/P0/1/joint.txt", (b"2\n" + lines(2, 63),), lambda path: read_labels("msra", path.parents[2])
        ),
        "nyu labels": Format(
            "nyu/test/joint_data.mat", (LABELS, unpacked_mat(LABELS)), lambda path: read_labels("nyu", path.parents[1])
        ),
        "pose record": Format("pose.json", tuple(poses()), read_pose),
        "config": config,
        "safetensors": model,
        "tensorflow": Format(
            "tf/model.index",
            (TF_INDEX,),
            lambda path: read_variables(path.with_suffix("")),
            {"tf/model.data-00000-of-00001": TF_DATA},
        ),
    }
