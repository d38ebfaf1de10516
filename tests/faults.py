"""What the package survives, as a table: fault, times tried, survived, lost. Exit code 1 if anything is lost.

python tests/faults.py [WORD]      only the faults whose name has WORD in it
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NamedTuple


class Fault(NamedTuple):
    """One kind of harm; `run` does it and returns the times tried, survived and lost."""

    name: str
    run: Callable[[], tuple[int, int, int]]


FAULTS: list[Fault] = []


def main(word: str = "") -> int:
    """Runs the faults and prints their rows as they come."""
    print(f"{'fault':60}{'tried':>8}{'survived':>10}{'lost':>6}")
    total = 0
    for fault in FAULTS:
        if word in fault.name:
            tried, survived, lost = fault.run()
            print(f"{fault.name:60}{tried:8,}{survived:10,}{lost:6,}", flush=True)
            total += lost
    return int(total > 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
