"""Feeds changed files to every reader, and counts those that break the rule of `helpers/hostile.py`.

    python tests/fuzz/fuzz.py [--runs 100000] [--seed 0] [--only FORMAT] [--engine seeded|atheris]

`seeded` changes good files, and files that led to an answer not seen before, in ways that follow from the seed alone.
`atheris` is guided by the coverage of the package's own code (`pip install -e ".[fuzz]"`), works on one format, and
stops at the first escape. Escapes are kept in the folder `escapes`; the exit code is 1 if there are any.
"""

from __future__ import annotations

import argparse
import random
import re
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

if "atheris" in sys.argv:  # which counts only what it has seen imported
    import atheris

    with atheris.instrument_imports(include=["handpose"]):
        from tests.helpers import hostile  # noqa: F401

from tests.helpers.hostile import Format, Lost, formats, watch

NUMBERS = [0, 1, 2, 7, 8, 16, 127, 128, 255, 256, 32767, 65535, 65536, 1 << 24, (1 << 31) - 1, 1 << 31, (1 << 32) - 1]
WORDS = [
    *(b"nan", b"inf", b"-inf", b"1e999", b"-1", b"0", b"7", b"1e-320", b"9" * 50, b"9" * 5000, b"1.2.3", b"--", b"1_0"),
    *(b"null", b"true", b"[]", b"{}", b"[" * 5000, b'"', b"\\", b"\0", b"\n", b"\n" * 5000, b" " * 5000, b"-" * 5000),
    *(b"\xff", "٣".encode(), "\u2028".encode(), b"NaN", b"Infinity", b"data:", b"camera_matrix:" * 400),
]
NUMBER = re.compile(rb"-?\d+(\.\d+)?")
SLOW = {"config": 20, "safetensors": 20}  # of these formats a file builds a network: so many times fewer are tried


def change(data: bytes, draw: random.Random, others: list[bytes]) -> bytes:
    """A file like `data` with one to four things changed."""
    out = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 4))):
        at = draw.randrange(len(out) + 1)
        to = min(len(out), at + draw.choice((1, 2, 4, 8, 64, 512)))
        what = draw.randrange(10)
        if what == 0 and at < len(out):
            out[at] ^= 1 << draw.randrange(8)
        elif what == 1 and at < len(out):
            out[at] = draw.randrange(256)
        elif what == 2:
            del out[at:to]
        elif what == 3:
            out[at:at] = out[at:to] * draw.choice((1, 2, 50))
        elif what == 4:
            del out[at:]
        elif what == 5:
            out[at : at + 4] = struct.pack(draw.choice("<>") + "I", draw.choice(NUMBERS))
        elif what == 6:
            out[at : at + 2] = struct.pack(draw.choice("<>") + "H", draw.choice(NUMBERS) & 0xFFFF)
        elif what == 7:
            out[at:to] = draw.choice(WORDS)
        elif what == 8 and (found := list(NUMBER.finditer(out))):
            start, end = draw.choice(found).span()
            out[start:end] = draw.choice(WORDS)
        elif what == 9:
            other = draw.choice(others)
            out[at:] = other[draw.randrange(len(other) + 1) :]
    return bytes(out)


class Fuzzer:
    """Reads files of one format and remembers what came of them."""

    def __init__(self, name: str, kind: Format, attempt: Callable[..., Any], folder: Path, seed: int) -> None:
        self.name, self.kind, self.attempt, self.folder = name, kind, attempt, folder
        self.draw = random.Random(f"{seed} {name}")
        self.corpus = list(kind.good)
        self.answers: Counter[str] = Counter()
        self.escapes: list[str] = []

    def read(self, data: bytes) -> None:
        """Reads `data` as a file."""
        try:
            value = self.attempt(self.kind, data, self.folder)
        except Lost as lost:
            kept = Path("escapes") / f"{self.name.replace(' ', '-')}-{len(self.escapes)}"
            kept.parent.mkdir(exist_ok=True)
            kept.write_bytes(data)
            self.escapes.append(f"{kept}: {lost}")
            return
        words = str(value).split(": ", 1)[-1][:60]
        answer = re.sub(r"\d+|['\"(\[].*", "", words) if isinstance(value, Exception) else "read"
        if answer not in self.answers:
            self.corpus.append(data)
        self.answers[answer] += 1

    def changed(self, data: bytes, draw: random.Random) -> bytes:
        """A file like `data`; half of those with checksums have them put right."""
        data = change(data, draw, self.corpus)
        return self.kind.repair(data) if draw.random() < 0.5 else data

    def row(self, seconds: float) -> str:
        """What came of it so far."""
        read, lost = self.answers["read"], len(self.escapes)
        refused = sum(self.answers.values()) - read
        counts = "".join(f"{count:9,}" for count in (read + refused + lost, read, refused, lost, len(self.answers)))
        return f"{self.name:14}{counts}{seconds:8.0f} s"


def seeded(fuzzers: list[Fuzzer], runs: int) -> None:
    """Reads `runs` files in all, and prints a row per format."""
    shares = {fuzzer.name: 1 / SLOW.get(fuzzer.name, 1) for fuzzer in fuzzers}
    for fuzzer in fuzzers:
        start = time.monotonic()
        for _ in range(1 + int(runs * shares[fuzzer.name] / sum(shares.values()))):
            fuzzer.read(fuzzer.changed(fuzzer.draw.choice(fuzzer.corpus), fuzzer.draw))
        print(fuzzer.row(time.monotonic() - start), flush=True)


def guided(fuzzer: Fuzzer, runs: int, seed: int, folder: Path) -> None:
    """Lets libFuzzer choose among the same changes by the lines of the package that they reach; does not return."""
    import atheris

    for i, data in enumerate(fuzzer.corpus):
        (folder / str(i)).write_bytes(data)
    start = time.monotonic()

    def one(data: bytes) -> None:
        fuzzer.read(data)
        if fuzzer.escapes or sum(fuzzer.answers.values()) == runs:
            print(fuzzer.row(time.monotonic() - start), *fuzzer.escapes, sep="\n", flush=True)
        if fuzzer.escapes:
            raise Lost(fuzzer.escapes[0])

    def custom_mutator(data: bytes, largest: int, seed: int) -> bytes:
        return fuzzer.changed(data, random.Random(seed))[:largest]

    arguments = [
        sys.argv[0],
        str(folder),
        f"-atheris_runs={runs}",
        f"-seed={seed or 1}",
        "-max_len=65536",
        "-timeout=60",
    ]
    atheris.Setup(arguments, one, custom_mutator=custom_mutator)
    atheris.Fuzz()


def main() -> int:
    """Runs an engine and prints what came of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only")
    parser.add_argument("--engine", choices=("seeded", "atheris"), default="seeded")
    chosen = parser.parse_args()
    kinds = {name: kind for name, kind in formats().items() if chosen.only in (None, name)}
    print(f"{'format':14}{'inputs':>9}{'read':>9}{'refused':>9}{'escapes':>9}{'answers':>9}{'time':>10}", flush=True)
    with watch() as attempt, tempfile.TemporaryDirectory() as folder:
        fuzzers = [Fuzzer(name, kind, attempt, Path(folder), chosen.seed) for name, kind in kinds.items()]
        if chosen.engine == "atheris":
            corpus = Path(folder) / "corpus"
            corpus.mkdir()
            guided(fuzzers[0], chosen.runs, chosen.seed, corpus)
        seeded(fuzzers, chosen.runs)
    escapes = [escape for fuzzer in fuzzers for escape in fuzzer.escapes]
    print(f"{sum(sum(fuzzer.answers.values()) for fuzzer in fuzzers) + len(escapes):,} inputs, {len(escapes)} escapes")
    print(*escapes[:20], sep="\n")
    return int(bool(escapes))


if __name__ == "__main__":
    sys.exit(main())
