"""What the package survives, as a table: fault, times tried, survived, lost. Exit code 1 if anything is lost.

python tests/faults.py [WORD]      only the faults whose name has WORD in it
"""

from __future__ import annotations

import contextlib
import re
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from handpose.errors import HandPoseError
from handpose.inference.estimator import HandPoseEstimator
from tests.fuzz.fuzz import Fuzzer, seeded
from tests.helpers.cases import CAMERA, CASES, DEPTH, outcome
from tests.helpers.fault import Fault
from tests.helpers.faults_jobs import JOB_FAULTS
from tests.helpers.hostile import Lost, formats, watch
from tests.helpers.planted import planted


def _planted(fault: str) -> Fault:
    def run() -> tuple[int, int, int]:
        kinds, lost, tried = formats(), 0, 0
        with watch() as attempt, tempfile.TemporaryDirectory() as folder:
            for each in (each for each in PLANTED if each.fault == fault):
                tried += 1
                try:
                    value = attempt(kinds[each.format], each.content, Path(folder))
                except Lost:
                    lost += 1
                else:
                    refused = isinstance(value, HandPoseError)
                    lost += refused == (each.refusal is None) or (
                        refused and not re.search(each.refusal or "", str(value))
                    )
        return tried, tried - lost, lost

    return Fault(f"files: {fault}", run)


def _fuzzed() -> tuple[int, int, int]:
    with watch() as attempt, tempfile.TemporaryDirectory() as folder:
        fuzzers = [Fuzzer(name, kind, attempt, Path(folder), seed=0) for name, kind in formats().items()]
        with contextlib.redirect_stdout(None):
            seeded(fuzzers, 20_000)
    lost = sum(len(fuzzer.escapes) for fuzzer in fuzzers)
    read = sum(sum(fuzzer.answers.values()) for fuzzer in fuzzers)
    return read + lost, read, lost


def _numbers(fault: str) -> Fault:
    def run() -> tuple[int, int, int]:
        estimator = HandPoseEstimator.from_pretrained("msra", device="cpu")
        same = estimator.predict(np.rint(DEPTH), camera=CAMERA)
        chosen = [case for case in CASES if case.fault == fault]
        lost = sum(bool(outcome(estimator, case, same)) for case in chosen)
        return len(chosen), len(chosen) - lost, lost

    return Fault(f"numbers: {fault}", run)


PLANTED = list(planted())
FAULTS = [
    *(_planted(fault) for fault in dict.fromkeys(each.fault for each in PLANTED)),
    Fault("files: 20,000 random changes to all formats (seed 0)", _fuzzed),
    *(_numbers(fault) for fault in dict.fromkeys(case.fault for case in CASES)),
]


def main(word: str = "") -> int:
    """Runs the faults and prints their rows as they come."""
    print(f"{'fault':60}{'tried':>8}{'survived':>10}{'lost':>6}")
    total = 0
    for fault in [*FAULTS, *JOB_FAULTS]:
        if word in fault.name:
            tried, survived, lost = fault.run()
            print(f"{fault.name:60}{tried:8,}{survived:10,}{lost:6,}", flush=True)
            total += lost
    return int(total > 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
