"""Files made to do harm, each with what must come of it: a regular expression of the refusal, or none if it is read."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
from safetensors.numpy import save

from tests.helpers.hostile import (
    CONFIG,
    DEPTH,
    ROWS,
    lines,
    mat_element,
    msra,
    npy,
    npz,
    png,
    png_chunk,
    safetensors,
    small_tensors,
    tf_entry,
    tf_index,
    tiff,
)


class Planted(NamedTuple):
    """A file of a known format: `fault` is what it does, `refusal` how it is refused."""

    fault: str
    format: str
    content: bytes
    refusal: str | None


class Trap:
    """Unpickling one fails the test."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("a pickle was opened",))


def header(shape: object, descr: str = "<u2", version: int = 1, length: int | None = None) -> bytes:
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    size = struct.pack("<H" if version == 1 else "<I", len(text) if length is None else length)
    return b"\x93NUMPY" + bytes([version, 0]) + size + text


def raw_deflate(data: bytes) -> bytes:
    """A piece of a stream, after which another may follow."""
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    return stream.compress(data) + stream.flush(zlib.Z_FULL_FLUSH)


ZEROS = raw_deflate(bytes(1 << 20))
"""A kilobyte that unpacks to a megabyte."""


def zip_bomb(head: bytes) -> bytes:
    """An archive of an array that begins with `head` and unpacks to 2 GB."""
    archive = bytearray(npz(raw_deflate(head) + ZEROS * 2048, method=zipfile.ZIP_STORED))
    central = archive.rindex(b"PK\1\2")
    for at in (8, central + 10):
        struct.pack_into("<H", archive, at, zipfile.ZIP_DEFLATED)
    for at in (22, central + 24):
        struct.pack_into("<I", archive, at, 2048 << 20)
    return bytes(archive)


def element(kind: int, data: bytes) -> bytes:
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def matrix(shape: tuple[int, ...], values: bytes, kind: int = 6, stored: int = 9) -> bytes:
    head = element(6, struct.pack("<II", kind, 0)) + element(5, struct.pack(f"<{len(shape)}i", *shape))
    return head + element(1, b"joint_xyz") + element(stored, values)


def planted() -> Iterator[Planted]:
    """All of them."""
    yield from _depth()
    yield from _labels()
    yield from _models()


def _depth() -> Iterator[Planted]:
    fault = "wrong checksum"
    data = bytearray(png(ROWS))
    data[-20] ^= 1
    yield Planted(fault, "png", bytes(data), "checksum of a PNG chunk")
    packed = bytearray(npz(npy(DEPTH), method=zipfile.ZIP_STORED))
    packed[300] ^= 1
    yield Planted(fault, "npz", bytes(packed), "Bad CRC-32")
    start = png(ROWS)[:33]
    for stream, message in (
        (zlib.compress(ROWS)[:-1] + b"\0", "truncated or damaged"),
        (zlib.compress(ROWS)[:-4], "different number of pixels"),
    ):
        content = start + png_chunk(b"IDAT", stream) + png_chunk(b"IEND", b"")
        yield Planted(fault, "png", content, message)

    fault = "wrong depth"
    for bits, colour in ((8, 0), (8, 2), (16, 2), (8, 3), (16, 4), (16, 6), (1, 0), (77, 99)):
        yield Planted(fault, "png", png(ROWS, bits=bits, colour=colour), "16-bit channel")
        if (bits, colour) != (8, 2):
            yield Planted(fault, "nyu png", png(ROWS, bits=bits, colour=colour), "is a coding of 8-bit RGB PNGs")
    for tags, message in (
        ({258: (3, 8)}, "8 bits"),
        ({258: (3, 64), 339: (3, 3)}, "64 bits"),
        ({277: (3, 3)}, "3 channels"),
    ):
        yield Planted(fault, "tiff", tiff(tags), message)
    for array in (
        np.zeros((3, 4, 3), "u2"),
        np.zeros(7),
        np.zeros((3, 4), "u1"),
        np.zeros((3, 4), "c8"),
        np.array([["a"]]),
    ):
        yield Planted(fault, "npy", npy(array), "array of numbers|16-bit|or \\(N, H, W\\)")
        yield Planted(fault, "npz", npz(npy(array)), "array of numbers|16-bit|or \\(N, H, W\\)")

    fault = "nothing there"
    for name in ("png", "nyu png", "tiff", "npy", "npz", "msra bin", "camera json", "camera yaml", "config"):
        yield Planted(fault, name, b"", "")
    for name in ("predictions", "msra labels", "nyu labels", "safetensors", "tensorflow"):
        yield Planted(fault, name, b"", "")
    yield Planted(fault, "png", png(b"", 0, 0), "0 x 0 px")
    yield Planted(fault, "tiff", tiff({256: (4, 0)}), "0 x 12 px")
    yield Planted(fault, "npy", header((0, 5)), "5 x 0 px")
    yield Planted(fault, "msra bin", msra(DEPTH[:0], (0, 0, 0, 0, 0, 0)), "0 x 0 px|MSRA's header")

    fault = "absurd size"
    yield Planted(fault, "png", png(b"", 2**31 - 1, 2**31 - 1), "2147483647 x 2147483647 px")
    yield Planted(fault, "png", png(ROWS, 16, 3_000_000), "different number of pixels")
    yield Planted(fault, "png", png(ROWS)[:33] + struct.pack(">I4s", 2**32 - 1, b"IDAT"), "truncated")
    for tags in ({256: (4, 2**32 - 1)}, {256: (4, 60_000), 257: (4, 60_000)}):
        yield Planted(fault, "tiff", tiff(tags), "px; expected between 1")
    for tags in (
        {322: (4, 16_000), 323: (4, 16_000), 324: (4, 300), 325: (4, 384)},  # tiles of 512 MB
        {322: (4, 1 << 30), 323: (4, 1 << 30), 324: (4, 300), 325: (4, 384)},
        {273: (4, 2**32 - 1)},
        {273: (4, 0)},  # pixels that are the header
        {279: (4, 2**32 - 1)},
        {278: (4, 2**32 - 1), 257: (4, 3_000_000), 259: (3, 8)},
    ):
        yield Planted(fault, "tiff", tiff(tags), "damaged|does not decode")
    for shape in ((2**40, 2**40), (10**8, 10**8), (-1, 5), (50_000, 1_000)):
        yield Planted(fault, "npy", header(shape), "px; expected between|array of numbers|has fewer")
    for length in (2**16, 2**32 - 1):
        yield Planted(fault, "npy", header((3, 4), version=2, length=length), "array of numbers")

    fault = "bomb"
    bomb = b"\x78\x9c" + ZEROS * 1600
    for size in (28_284, 500):
        content = png(b"", size, size)[:33] + png_chunk(b"IDAT", bomb) + png_chunk(b"IEND", b"")
        yield Planted(fault, "png", content, "28284 x 28284 px|different number of pixels")
    for kind, body in (
        (b"iCCP", b"a\0\0" + zlib.compress(bytes(1 << 26))),
        (b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 26))),
        (b"acTL", struct.pack(">II", 1 << 30, 0)),
        (b"tRNS", b"\0\1"),
        (b"PLTE", bytes(768)),
        (b"bKGD", b"\5"),
        (b"eXIf", b"MM\0*" + b"\xff" * 40),
    ):
        yield Planted(fault, "png", png(ROWS, more=png_chunk(kind, body)), None)
    frames = png_chunk(b"acTL", struct.pack(">II", 2, 0)) + png_chunk(
        b"fcTL", struct.pack(">5I2H2B", 0, 8, 6, 0, 0, 1, 1, 0, 0)
    )
    yield Planted(fault, "png", png(ROWS, more=frames), None)  # an animation whose first frame is smaller
    for head in (header((3, 4), version=2, length=1 << 31), header((7000, 7000))):
        yield Planted(fault, "npz", zip_bomb(head), "array of numbers|has more")
    members = io.BytesIO()
    with zipfile.ZipFile(members, "w") as archive:
        for i in range(5000):
            archive.writestr(f"{i}\n", b"")
    yield Planted(fault, "npz", members.getvalue(), "expected one array, or one named depth")
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):  # of which zipfile unpacks more than it is asked for
        yield Planted(fault, "npz", npz(npy(DEPTH), method=method), "unsupported compression")
    deep = b"(" * 9_000 + b")" * 9_000
    yield Planted(fault, "npy", b"\x93NUMPY\2\0" + struct.pack("<I", len(deep)) + deep, "array of numbers")
    yield Planted(fault, "npy", header("(" + "-" * 9_000 + "1, 2)"), "array of numbers")

    fault = "NaN, infinite, negative, nothing"
    odd = DEPTH.astype("<f4")
    odd[3, :4] = [np.nan, np.inf, -np.inf, -300.0]
    signalling = struct.pack("<I", 0x7F800001)
    for array in (odd, odd.astype(">f8"), np.zeros_like(DEPTH), np.full((4, 5), np.nan), np.full((4, 5), -7, "<i2")):
        yield Planted(fault, "npy", npy(array), None)
        yield Planted(fault, "npz", npz(npy(array)), None)
    yield Planted(fault, "npy", npy(np.full((3, 4), 1e300)), None)
    yield Planted(fault, "npy", npy(np.full((3, 4), 2**64 - 1, np.uint64)), None)
    yield Planted(fault, "npy", header((1, 1), "<f4") + signalling, None)
    yield Planted(fault, "png", png(bytes(12 * 33)), None)
    yield Planted(fault, "tiff", tiff({258: (3, 32), 339: (3, 3)}, odd.tobytes()), None)
    yield Planted(fault, "msra bin", msra(odd[2:10, 3:9]), None)
    yield Planted(fault, "msra bin", msra(odd[:0], (16, 12, 5, 5, 5, 5)), None)

    fault = "pickle"
    trap = npy(np.array([[Trap()]], dtype=object))
    yield Planted(fault, "npy", trap, "array of numbers")
    yield Planted(fault, "npz", npz(trap), "array of numbers")
    for name in ("npy", "npz", "config", "safetensors", "tensorflow"):
        yield Planted(fault, name, pickle.dumps(Trap()), "")

    fault = "lying header of MSRA"
    window = DEPTH[2:10, 3:9]
    for numbers in (
        *(
            (16, 12, 3, 2, 9, 11),
            (16, 12, 3, 2, 9, 9),
            (16, 12, 9, 2, 3, 10),
            (16, 12, 3, 2, 19, 10),
            (8, 6, 3, 2, 9, 10),
        ),
        *((-16, -12, 3, 2, 9, 10), (16, 12, -3, 2, 3, 10), (1 << 30, 1 << 30, 0, 0, 4, 4), (0, 12, 0, 2, 0, 10)),
        *((16, 12, -(1 << 31), -(1 << 31), (1 << 31) - 1, (1 << 31) - 1), (7_000, 7_000, 0, 0, 7_000, 7_000)),
    ):
        yield Planted(fault, "msra bin", msra(window, numbers), "is not inside|declares|px; expected|MSRA's header")


def _labels() -> Iterator[Planted]:
    fault = "labels with bad numbers"
    for word in ("nan", "inf", "-inf", "1e999", "x", "1,5", "0x10", "--1", "9" * 5000, "1.2.3", "\0", "½"):
        bad = word.encode()
        yield Planted(
            fault, "icvl labels", lines(3, 48, "a.png ").replace(b"301.25", bad, 1), "line 1: expected 48 numbers"
        )
        yield Planted(
            fault, "msra labels", b"2\n" + lines(2, 63).replace(b"301.25", bad, 1), "line 2: expected 63 numbers"
        )
        yield Planted(fault, "centres", lines(3, 3).replace(b"301.25", bad, 1), "line 1: expected x y z")
        refusal = None if word == "nan" else "a.txt:1: expected numbers"
        yield Planted(fault, "predictions", lines(3, 42).replace(b"301.25", bad, 1), refusal)
    for count in (b"", b"x", b"-1", b"3", b"1e3", b"9" * 5000, b"nan"):
        yield Planted(
            fault,
            "msra labels",
            count + b"\n" + lines(2, 63),
            "line 1: expected the number|expected .* frames, got 2|line 1",
        )
    for name, numbers, first in (
        ("icvl labels", 47, "a.png "),
        ("msra labels", 62, ""),
        ("predictions", 41, ""),
        ("centres", 2, ""),
    ):
        yield Planted(fault, name, (b"2\n" if name == "msra labels" else b"") + lines(2, numbers, first), "expected")
        yield Planted(fault, name, b"\xff\xfd\0\1", "cannot be read as text")
    yield Planted(fault, "icvl labels", lines(3, 48, "a" * 5000 + "/a.png "), None)  # a frame without its file
    for array, message in (
        (np.full((1, 2, 36, 3), np.nan), "not finite"),
        (np.full((1, 2, 36, 3), np.inf), "not finite"),
        (np.zeros((1, 0, 36, 3)), "must be"),
        (np.zeros((1, 2, 35, 3)), "must be"),
    ):
        yield Planted(fault, "nyu labels", mat_element(matrix(array.shape, array.tobytes()), packed=True), message)
    values = np.zeros(216).tobytes()
    for shape in ((1, -1, 36, 3), (-1, -1, 36, 3), (1 << 30, 1 << 30, 36, 3), (1, 3, 36, 3)):
        yield Planted(fault, "nyu labels", mat_element(matrix(shape, values), packed=False), "truncated or damaged")
    for kind, stored in ((8, 9), (4, 9), (6, 14), (99, 9)):
        yield Planted(
            fault, "nyu labels", mat_element(matrix((1, 2, 36, 3), values, kind, stored), packed=True), "damaged"
        )

    fault = "bomb"
    content = mat_element(matrix((1, 2, 36, 3), b""), packed=False)[:128]
    packed = (
        b"\x78\x9c" + raw_deflate(struct.pack("<II", 14, 1 << 31) + matrix((1, 1 << 20, 36, 3), b"")) + ZEROS * 1600
    )
    yield Planted(fault, "nyu labels", content + element(15, packed), "truncated or damaged")
    for name in ("camera json", "config", "pose record"):
        yield Planted(fault, name, b"[" * 50_000, "not JSON|expected|recursion")
        yield Planted(fault, name, b"[" * 500_000, "")
        yield Planted(fault, name, b'{"layout": "msra", "fx": ' + b"9" * 4000 + b"}", "")
    for text in (
        b"K:" + b"-" * 65_000,
        b"\n" * 65_000,
        b"camera_matrix: data: - - - - - - - -\n" * 1700,
        bytes(70_000),
    ):
        yield Planted(fault, "camera yaml", text, "not YAML|expected|cannot be read as text|at most 65536 bytes")

    fault = "camera with bad numbers"
    for number in (
        "0",
        "-476",
        "NaN",
        "Infinity",
        "1e999",
        '"wide"',
        "null",
        "true",
        "1e-300",
        "1e300",
        "1" * 4000,
    ):
        content = f'{{"fx": {number}, "fy": 475.5, "cx": 313.0, "cy": 242.5}}'.encode()
        yield Planted(fault, "camera json", content, "camera requires|expected a number|not JSON")
        row = f"width: 640\nheight: 480\nK: [{number}, 0.0, 313.6, 0.0, 475.5, 242.7, 0.0, 0.0, 1.0]\n".encode()
        yield Planted(
            fault, "camera yaml", row, "calibrated camera|expected a number|camera requires|negative|not YAML"
        )
    for size in ("-5", "9" * 5000, "1e3x"):
        row = f"width: {size}\nheight: 480\nK: [476.0, 0.0, 313.6, 0.0, 475.5, 242.7, 0.0, 0.0, 1.0]\n".encode()
        yield Planted(
            fault, "camera yaml", row, "calibrated camera|expected a number|camera requires|negative|not YAML"
        )


def _models() -> Iterator[Planted]:
    tensors = small_tensors()
    good = save(tensors)
    (length,) = struct.unpack("<Q", good[:8])
    entries: dict[str, Any] = json.loads(good[8 : 8 + length])
    body = good[8 + length :]
    first = "stem.residual3.shortcut.1.weight"

    fault = "hostile safetensors"
    for cut in (0, 7, 8, 100, length, len(good) - 1):
        yield Planted(fault, "safetensors", good[:cut], "not a readable safetensors")
    yield Planted(fault, "safetensors", good + b"\0", "not a readable safetensors")
    for size in (2**63, 2**64 - 1, 100_000_001, 99_000_000):
        yield Planted(fault, "safetensors", struct.pack("<Q", size) + good[8:], "not a readable safetensors")
    yield Planted(fault, "safetensors", safetensors(b" " * (1 << 26) + b"{}"), "bytes do not fit the icvl network")
    yield Planted(fault, "safetensors", safetensors(b"[" * 5_000), "not a readable safetensors")
    start, end = entries[first]["data_offsets"]
    for change in (
        *({"data_offsets": [0, 1 << 40]}, {"data_offsets": [end, start]}, {"data_offsets": [-1, 3]}),
        *({"data_offsets": [start + 4, end + 4]}, {"data_offsets": [0, 0]}, {"data_offsets": "x"}, {"dtype": "PICKLE"}),
        *({"shape": [1 << 62, 4]}, {"shape": [-8]}, {"shape": [2]}, {"shape": []}),
    ):
        yield Planted(
            fault, "safetensors", safetensors(entries | {first: entries[first] | change}, body), "not a readable"
        )
    for dtype, width in (
        ("I32", 4),
        ("U8", 1),
        ("BOOL", 1),
        ("BF16", 2),
        ("F8_E4M3", 1),
        ("C64", 8),
        ("F8_E8M0", 1),
        ("U64", 8),
    ):
        # The same number of values in a foreign type, at the end of the data.
        foreign: dict[str, Any] = {}
        blob = b""
        for key, entry in entries.items():
            if key == "__metadata__":
                continue
            a, b = entry["data_offsets"]
            data = body[a:b] if key != first else bytes((b - a) // 4 * width)
            foreign[key] = {
                "dtype": dtype if key == first else entry["dtype"],
                "shape": entry["shape"],
                "data_offsets": [len(blob), len(blob) + len(data)],
            }
            blob += data
        yield Planted(fault, "safetensors", safetensors(foreign, blob), "expected float16|not a readable")

    fault = "weights with bad numbers"
    for number in (np.nan, np.inf, -np.inf):
        yield Planted(
            fault, "safetensors", save(tensors | {first: np.full_like(tensors[first], number)}), "NaN or infinite"
        )
    yield Planted(
        fault, "safetensors", save(tensors | {first: np.full(tensors[first].shape, 1e300)}), "NaN or infinite"
    )
    variances = "stem.bn.running_var"
    yield Planted(
        fault, "safetensors", save(tensors | {variances: np.full_like(tensors[variances], -1)}), "variances below 0"
    )
    for more in (
        {"more": np.zeros(2, "f4")},
        {first: np.zeros(31, "f4")},
        {"a" * 5000: np.zeros(2, "f4")},
        {"a\nb": np.zeros(1, "f4")},
    ):
        yield Planted(fault, "safetensors", save(tensors | more), "1 tensors do not fit the icvl network")
    yield Planted(fault, "safetensors", save({k: v for k, v in tensors.items() if k != first}), "got nothing")

    fault = "config that lies"
    values = json.loads(CONFIG)
    for change, message in (
        *(({"layout": other}, "do not fit") for other in ("msra", "nyu")),
        *(({"layout": other}, "layout must be one of") for other in ("mano", None, ["icvl"], {}, "i" * 5000)),
        *(({"stacks": other}, "stacks must be") for other in (0, 9, 1.0, "1", None, True, 10**400, float("nan"))),
        *(({"features": other}, "features must be") for other in (3, 1025, 1e9, [4])),
        ({"features": 1024, "stacks": 8}, "do not fit"),
        *(({"cube": other}, "cube must be") for other in (0, -250, float("inf"), float("nan"), 1e308, "x")),
        *(({"uv_scale": other}, "uv_scale must be") for other in (0, 1e6)),
        ({"graph": "none"}, "cannot be combined with"),
        ({"graph": ["skeleton"], "voting": {}}, "unknown graph"),
        *(({"extra": 1}, "expected an object with"), ({"__class__": "os.system"}, "expected an object with")),
    ):
        yield Planted(fault, "config", json.dumps(values | change).encode(), message)
    for content in (b"{", b"[]", b"null", b"\xff\xfe", b'{"layout": "icvl"}', b" " * 70_000 + CONFIG):
        yield Planted(fault, "config", content, "")

    fault = "hostile TensorFlow index"
    entry = tf_entry((4,), 0, np.arange(4, dtype="<f4").tobytes())
    for index, message in (
        (tf_index({b"a": entry.replace(b"\x28\x10", b"\x28\xff\xff\xff\xff\xff\x7f")}), "are fewer than"),
        (tf_index({b"a": tf_entry((127, 127, 127), 0, b"")}), "needs"),
        (tf_index({b"a": tf_entry((0, 4), 0, b"")}), "not a float32 tensor"),
        (tf_index({b"a": tf_entry((1,) * 20, 0, b"\0\0\0\0")}), "not a float32 tensor"),
        (tf_index({b"k" * 5000: entry}), "damaged checkpoint index"),
        (tf_index({bytes([i]): entry for i in range(33, 127)}), "are fewer than"),
        (b"\xff" * 2000, "expected a TensorFlow checkpoint index"),
        (bytes(1 << 21), "far smaller"),
    ):
        yield Planted(fault, "tensorflow", index, message)
