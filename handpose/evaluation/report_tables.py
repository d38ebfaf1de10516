"""The tables of a report, and their text for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from handpose.evaluation.metrics import CURVE_LIMIT, SUCCESS_THRESHOLDS


@dataclass(frozen=True)
class Table:
    """A table whose first column names the rows.

    Attributes:
        title: Title.
        columns: Column headings.
        rows: Cells of each row.
        best: (row, column) of the best values.
    """

    title: str
    columns: list[str]
    rows: list[list[str]]
    best: set[tuple[int, int]]


class _Column(NamedTuple):
    values: list[Any]
    format: str = ".3f"
    best: Callable[[list[float]], float] | None = min


def report_tables(names: Sequence[str], values: Sequence[Mapping[str, Any]]) -> list[Table]:
    """Return the tables of error, success rate, error per axis, per finger and per joint.

    Args:
        names: Names of the evaluations.
        values: `Evaluation.to_dict` of each evaluation, with its layout.
    """

    def column(key: str) -> list[Any]:
        return [value[key] for value in values]

    def parts(key: str) -> dict[str, _Column]:
        return {part: _Column([value[key][part] for value in values]) for part in values[0][key]}

    intervals = [None if low is None else f"{low:.3f} to {high:.3f}" for low, high in column("mean_interval95_mm")]
    error = {
        "missing": _Column(column("no_hand"), "d", None),
        "mean": _Column(column("mean_mm")),
        "95% interval": _Column(intervals, "s", None),
        "median": _Column(column("median_mm")),
        "p95": _Column(column("p95_mm")),
    }
    success = {f"{t} mm": _Column(column(f"success_{t}mm"), ".1%", max) for t in SUCCESS_THRESHOLDS}
    success[f"AUC 0-{CURVE_LIMIT} mm"] = _Column(column(f"auc_{CURVE_LIMIT}mm"), ".4f", max)
    axes = {axis: _Column(column(f"{axis}_mm")) for axis in "xyz"}
    axes |= {"z-centered": _Column(column("z_centered_mm")), "centered": _Column(column("centered_mm"))}
    return [
        _table("Joint error [mm]", names, error),
        _table("Success rate: share of frames whose worst joint is within", names, success),
        _table("Mean error [mm] along the axes, and after centering", names, axes),
        _table("Mean error per finger [mm]", names, parts("per_finger_mm")),
        _transposed(_table("Mean error per joint [mm]", names, parts("per_joint_mm"))),
    ]


def text_of(table: Table) -> str:
    """Return a table as aligned text."""
    grid = [table.columns, *table.rows]
    widths = [max(len(row[i]) for row in grid) for i in range(len(table.columns))]
    lines = [table.title]
    for row in grid:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _table(title: str, names: Sequence[str], columns: Mapping[str, _Column]) -> Table:
    rows = [[name] for name in names]
    best = set()
    for number, column in enumerate(columns.values(), start=1):
        known = [value for value in column.values if value is not None]
        for i, value in enumerate(column.values):
            rows[i].append("-" if value is None else format(value, column.format))
            if column.best and len(known) > 1 and value == column.best(known):
                best.add((i, number))
    return Table(title, ["", *columns], rows, best)


def _transposed(table: Table) -> Table:
    """Return a table with a row per column, for tables that would be too wide otherwise."""
    header, *rows = [list(row) for row in zip(table.columns, *table.rows, strict=True)]
    return Table(table.title, header, rows, {(column - 1, row + 1) for row, column in table.best})
