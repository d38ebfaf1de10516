"""The log of a training run: `log.csv`, one row per validation."""

from __future__ import annotations

import csv
import io
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


def last_row(run: Path) -> dict[str, float]:
    """Return the last row of the log of a run."""
    with (run / _FILE).open(newline="") as stream:
        return {name: float(value) for name, value in list(csv.DictReader(stream))[-1].items()}


def remove_later_rows(run: Path, step: int) -> None:
    """Remove the rows after a checkpoint's step, which a killed process may have written, and incomplete rows."""
    file = run / _FILE
    if not file.is_file():
        return
    with file.open(newline="") as stream:
        reader = csv.DictReader(stream)
        names, rows = reader.fieldnames or (), list(reader)
    kept = [row for row in rows if (row["step"] or "").isdecimal() and int(row["step"]) <= step]
    if not kept:
        file.unlink()
    elif len(kept) < len(rows):
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, names)
        writer.writeheader()
        writer.writerows(kept)
        write_atomically(file, text.getvalue().encode())
