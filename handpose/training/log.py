"""The log of a training run: `log.csv`, one row per validation."""

from __future__ import annotations

import csv
from pathlib import Path

from handpose.io.atomic import write_atomically

_FILE = "log.csv"


def append_row(run: Path, row: dict[str, float]) -> None:
    """Append a row to the log of a run."""
    file = run / _FILE
    is_new = not file.is_file()
    with file.open("a", newline="") as stream:
        writer = csv.DictWriter(stream, row)
        if is_new:
            writer.writeheader()
        writer.writerow(row)


def read_rows(run: Path) -> list[dict[str, float]]:
    """Return the complete rows of the log of a run; none before its first validation."""
    if not (run / _FILE).is_file():
        return []
    with (run / _FILE).open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if None not in row.values()]
        return [{name: float(value) for name, value in row.items()} for row in rows]


def last_row(run: Path) -> dict[str, float]:
    """Return the last row of the log of a run."""
    return read_rows(run)[-1]


def remove_later_rows(run: Path, step: int) -> int:
    """Remove the rows after a checkpoint's step, which a killed process may have written, and a truncated row.

    Returns:
        The step of the last remaining row, or 0 if there is none.
    """
    file = run / _FILE
    if not file.is_file():
        return 0
    old = file.read_bytes().decode()
    header, *rows = old[: old.rfind("\n") + 1].splitlines(keepends=True) or [""]
    kept = [row for row in rows if (number := row.partition(",")[0]).isdecimal() and int(number) <= step]
    new = "".join([header, *kept])
    if not kept:
        file.unlink()
    elif new != old:
        write_atomically(file, new.encode())
    return int(kept[-1].partition(",")[0]) if kept else 0
