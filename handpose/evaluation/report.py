"""Evaluations side by side: as a table, JSON, CSV, plots and one HTML page."""

from __future__ import annotations

import base64
import csv
import html
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from handpose.errors import HandPoseError
from handpose.evaluation.metrics import CURVE_LIMIT, SUCCESS_THRESHOLDS, Evaluation
from handpose.evaluation.plots import check_matplotlib, draw_evaluations, save_figure
from handpose.geometry.camera import Camera
from handpose.geometry.layouts import JointLayout
from handpose.version import __version__

_MISSING = (
    "Frames without a prediction stay out of the means, are failures in the success rate, and count as infinitely "
    "wrong in median and p95."
)
_LEGEND = (
    "95 % interval: bootstrap of the mean over frames, as if they were independent; those of a video are not, and "
    "the true interval is wider.",
    f"Success rate: share of frames whose worst joint is within the threshold; AUC: the area under its curve from 0 "
    f"to {CURVE_LIMIT} mm, as a share.",
    "x, y, z: mean absolute error along the axis. z-centred, centred: mean joint error once each frame's prediction "
    "is shifted along z, or freely, so that its joints' mean is the true one. palm: the joints of no finger.",
)


@dataclass(frozen=True)
class Entry:
    """One set of predictions in a report.

    Attributes:
        name: what the tables and plots call it.
        evaluation: its errors.
        centers: where the hand centres came from that its crops were cut around; they change the numbers.
    """

    name: str
    evaluation: Evaluation
    centers: str


@dataclass(frozen=True)
class _Block:
    """A table: its first column names the rows; `best` are the (row, column) of the best numbers."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    best: set[tuple[int, int]]


@dataclass(frozen=True)
class Report:
    """Evaluations of the same frames, side by side.

    Attributes:
        dataset: what the frames are, for the heading.
        layout: the evaluated joints.
        entries: the evaluations, by different names.
        camera: the intrinsics that made mm of pixels, None where the predictions came in mm.
        notes: further lines that belong to the numbers.
    """

    dataset: str
    layout: JointLayout
    entries: Sequence[Entry]
    camera: Camera | None = None
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        names = [entry.name for entry in self.entries]
        shapes = {entry.evaluation.errors.shape for entry in self.entries}
        if not names or len(set(names)) < len(names):
            raise HandPoseError(f"a report needs evaluations by different names, got {names}")
        if len(shapes) > 1 or next(iter(shapes))[1] != len(self.layout):
            raise HandPoseError(
                f"a report needs evaluations of the same frames and of {len(self.layout)} joints, got "
                f"(frames, joints) {sorted(shapes)}"
            )

    @property
    def frames(self) -> int:
        """How many frames were evaluated."""
        return len(self.entries[0].evaluation.errors)

    def table(self) -> str:
        """The report for a terminal, without the plots."""
        lines = [f"{title}: {text}" for title, text in self._header]
        for block in self._blocks:
            grid = [block.columns, *block.rows]
            widths = [max(len(row[i]) for row in grid) for i in range(len(block.columns))]
            lines += ["", block.title]
            for row in grid:
                cells = [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]
                lines.append("  ".join(cells).rstrip())
        lines += ["", *_LEGEND]
        for name, frames in self._missing:
            lines.append(f"{name}: no prediction in frames (counted from 0) {frames}")
        return "\n".join([*lines, _MISSING] if self._missing else lines)

    def to_dict(self) -> dict[str, Any]:
        """All numbers by name, with the success-rate curve of each evaluation at every whole mm."""
        thresholds = np.arange(CURVE_LIMIT + 1)
        return {
            "dataset": self.dataset,
            "layout": self.layout.name,
            "joints": list(self.layout.joints),
            "frames": self.frames,
            "camera": self.camera and self.camera.to_dict(),
            "notes": list(self.notes),
            "handpose": __version__,
            "thresholds_mm": thresholds.tolist(),
            "results": [
                {
                    "name": entry.name,
                    "centers": entry.centers,
                    **values,
                    "success_curve": entry.evaluation.success_curve(thresholds).round(4).tolist(),
                }
                for entry, values in zip(self.entries, self._values, strict=True)
            ],
        }

    def write(self, path: str | Path) -> None:
        """Writes the report as `.json`, `.csv` (one line per evaluation) or `.html` (one file that needs no other).

        Raises:
            HandPoseError: the suffix is another, the file cannot be written, or `.html` without matplotlib.
        """
        path = Path(path)
        check_outputs([path], None)
        text = _FORMATS[path.suffix.lower()](self)
        try:
            path.write_text(text, encoding="utf-8", newline="\n")
        except OSError as error:
            raise HandPoseError(f"{path}: cannot be written ({error})") from None

    def plot(self, folder: str | Path) -> list[Path]:
        """The PNG files written: success rate, errors per joint and per finger, error histogram.

        Raises:
            HandPoseError: matplotlib is not installed, or the folder cannot be written.
        """
        paths = []
        try:
            for name, figure in draw_evaluations(self._evaluations, self.layout).items():
                Path(folder).mkdir(parents=True, exist_ok=True)
                paths.append(Path(folder) / f"{name}.png")
                save_figure(figure, paths[-1], "png")
        except OSError as error:
            raise HandPoseError(f"{folder}: cannot be written ({error})") from None
        return paths

    @property
    def _evaluations(self) -> dict[str, Evaluation]:
        return {entry.name: entry.evaluation for entry in self.entries}

    @cached_property
    def _values(self) -> list[dict[str, Any]]:
        return [entry.evaluation.to_dict(self.layout) for entry in self.entries]

    @property
    def _missing(self) -> list[tuple[str, str]]:
        return [
            (entry.name, _ranges(entry.evaluation.missing)) for entry in self.entries if len(entry.evaluation.missing)
        ]

    @property
    def _header(self) -> list[tuple[str, str]]:
        sources: dict[str, list[str]] = {}
        for entry in self.entries:
            sources.setdefault(entry.centers, []).append(entry.name)
        centers = [text if len(sources) == 1 else f"{', '.join(names)}: {text}" for text, names in sources.items()]
        camera = self.camera and self.camera.to_dict()
        intrinsics = camera and ", ".join(f"{name} {camera[name]:g} px" for name in ("fx", "fy", "cx", "cy"))
        return [
            ("data set", f"{self.dataset}, {self.frames} frames, {len(self.layout)} joints ({self.layout.name})"),
            ("camera", intrinsics or "none: predictions and truth were given in mm"),
            ("hand centres", "; ".join(centers)),
            *(("note", note) for note in self.notes),
        ]

    @cached_property
    def _blocks(self) -> list[_Block]:
        values = self._values
        intervals = [value["mean_interval95_mm"] for value in values]
        blocks = [
            self._block(
                "Joint error [mm]",
                {
                    "missing": ([value["no_hand"] for value in values], "d", None),
                    "mean": ([value["mean_mm"] for value in values], ".3f", min),
                    "95 % interval": ([None if a is None else f"{a:.3f} to {b:.3f}" for a, b in intervals], "s", None),
                    "median": ([value["median_mm"] for value in values], ".3f", min),
                    "p95": ([value["p95_mm"] for value in values], ".3f", min),
                },
            ),
            self._block(
                "Success rate: share of frames whose worst joint is within",
                {
                    **{
                        f"{t} mm": ([value[f"success_{t}mm"] for value in values], ".1%", max)
                        for t in SUCCESS_THRESHOLDS
                    },
                    f"AUC 0-{CURVE_LIMIT} mm": ([value[f"auc_{CURVE_LIMIT}mm"] for value in values], ".4f", max),
                },
            ),
            self._block(
                "Mean error [mm] along the axes, and without the hand's place",
                {
                    title: ([value[key] for value in values], ".3f", min)
                    for title, key in (
                        *(("x", "x_mm"), ("y", "y_mm"), ("z", "z_mm")),
                        *(("z-centred", "z_centered_mm"), ("centred", "centered_mm")),
                    )
                },
            ),
            self._block(
                "Mean error per finger [mm]",
                {
                    finger: ([value["per_finger_mm"][finger] for value in values], ".3f", min)
                    for finger in values[0]["per_finger_mm"]
                },
            ),
        ]
        joints = self._block(
            "Mean error per joint [mm]",
            {
                joint: ([value["per_joint_mm"][joint] for value in values], ".3f", min)
                for joint in values[0]["per_joint_mm"]
            },
        )
        turned = zip(joints.columns, *joints.rows, strict=True)  # a column per joint would be too wide
        header, *rows = [list(row) for row in turned]
        return [*blocks, _Block(joints.title, header, rows, {(column - 1, row + 1) for row, column in joints.best})]

    def _block(
        self, title: str, columns: dict[str, tuple[list[Any], str, Callable[[list[float]], float] | None]]
    ) -> _Block:
        """The table of columns (values of the entries, their format, which value is the best)."""
        rows = [[entry.name] for entry in self.entries]
        best = set()
        for column, (values, spec, choose) in enumerate(columns.values(), start=1):
            known = [value for value in values if value is not None]
            for i, value in enumerate(values):
                rows[i].append("-" if value is None else format(value, spec))
                if choose and len(known) > 1 and value == choose(known):
                    best.add((i, column))
        return _Block(title, ["", *columns], rows, best)

    def _csv(self) -> str:
        rows = []
        for entry, values in zip(self.entries, self._values, strict=True):
            row: dict[str, Any] = {"dataset": self.dataset, "name": entry.name, "centers": entry.centers}
            for key, value in values.items():
                if key == "mean_interval95_mm":
                    row |= {"mean_low95_mm": value[0], "mean_high95_mm": value[1]}
                elif isinstance(value, dict):
                    row |= {
                        f"{part}_mm" if key == "per_joint_mm" else f"finger_{part}_mm": v for part, v in value.items()
                    }
                elif not isinstance(value, list):
                    row[key] = value
            rows.append(row)
        text = io.StringIO()
        writer = csv.DictWriter(text, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()

    def _html(self) -> str:
        figures = {}
        for name, figure in draw_evaluations(self._evaluations, self.layout).items():
            image = io.BytesIO()
            save_figure(figure, image, "svg")
            figures[name] = _figure(name, image.getvalue())
        error, success, axes, fingers, joints = (_html_table(block) for block in self._blocks)
        missing = [
            f"<p>{html.escape(name)}: no prediction in frames (counted from 0) {frames}</p>"
            for name, frames in self._missing
        ]
        facts = [f"<dt>{_capital(title)}</dt><dd>{html.escape(text)}</dd>" for title, text in self._header]
        facts.append(f"<dt>Predictions</dt><dd>{html.escape(', '.join(entry.name for entry in self.entries))}</dd>")
        sections = [
            *(error, success, figures["success_rate"], figures["error_histogram"]),
            *(axes, fingers, figures["per_finger"], joints, figures["per_joint"]),
            "<h2>How to read the numbers</h2>",
            *(f"<p>{html.escape(line)}</p>" for line in (*_LEGEND, _MISSING)),
            *(["<h2>Missing frames</h2>", *missing] if missing else ["<p>Every frame has a prediction.</p>"]),
        ]
        title = html.escape(f"Hand pose evaluation: {self.dataset}")
        return _PAGE.format(title=title, facts="\n".join(facts), body="\n".join(sections), version=__version__)


_FORMATS: dict[str, Callable[[Report], str]] = {
    ".json": lambda report: json.dumps(report.to_dict(), indent=1) + "\n",
    ".csv": Report._csv,
    ".html": Report._html,
}


def check_outputs(reports: Iterable[str | Path], plots: str | Path | None) -> None:
    """Checks before a long evaluation that its report can be written.

    Raises:
        HandPoseError: a report has another suffix than `.json`, `.csv` or `.html`, or matplotlib is missing and needed.
    """
    suffixes = {Path(path).suffix.lower(): path for path in reports}
    for suffix, path in suffixes.items():
        if suffix not in _FORMATS:
            raise HandPoseError(f"a report is written as {', '.join(_FORMATS)}, got {path}")
    if plots is not None or ".html" in suffixes:
        check_matplotlib()


def _ranges(numbers: np.ndarray) -> str:
    """Ascending numbers with their runs drawn together: `3, 7-9`."""
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
    return ", ".join(f"{run[0]}" if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _figure(name: str, svg: bytes) -> str:
    # As an image of its own, not inline: the figures' element ids would collide in one page.
    source = base64.b64encode(svg).decode("ascii")
    text = _capital(name.replace("_", " "))
    return f'<figure><img alt="{text}" src="data:image/svg+xml;base64,{source}"></figure>'


def _html_table(block: _Block) -> str:
    head = "".join(f"<th>{html.escape(column)}</th>" for column in block.columns)
    rows = []
    for i, row in enumerate(block.rows):
        cells = [f"<td{' class=best' * ((i, j) in block.best)}>{html.escape(cell)}</td>" for j, cell in enumerate(row)]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return (
        f"<h2>{html.escape(block.title)}</h2>\n<div><table><thead><tr>{head}</tr></thead>\n"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


# The policy holds the page to itself: a browser loads nothing from elsewhere, whatever a name may contain.
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
body {{ max-width: 52rem; margin: 2.5rem auto; padding: 0 1.25rem; background: #fff; color: #1b1b1b;
  font: 15px/1.5 system-ui, sans-serif; }}
h1 {{ font-size: 1.5rem; margin: 0 0 1rem; }}
h2 {{ font-size: 1.05rem; margin: 2.2rem 0 .5rem; break-after: avoid; }}
dl {{ display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.25rem; margin: 0; }}
dt {{ color: #666; }}
dd {{ margin: 0; overflow-wrap: anywhere; }}
div {{ overflow-x: auto; }}
table {{ width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; break-inside: avoid; }}
th, td {{ padding: .25rem 0 .25rem 1.2rem; text-align: right; white-space: nowrap; }}
th:first-child, td:first-child {{ padding-left: 0; text-align: left; }}
thead th {{ white-space: normal; vertical-align: bottom; font-weight: 600;
  border-top: 1.5px solid #1b1b1b; border-bottom: 1px solid #1b1b1b; }}
tbody tr:last-child td {{ border-bottom: 1.5px solid #1b1b1b; }}
.best {{ font-weight: 700; }}
figure {{ margin: 1rem 0; break-inside: avoid; }}
img {{ display: block; max-width: 100%; margin: auto; }}
footer {{ margin-top: 2.5rem; color: #666; font-size: .85rem; }}
</style>
</head>
<body>
<h1>{title}</h1>
<dl>
{facts}
</dl>
{body}
<footer>Made by handpose {version}. The best number of a column or row is bold.</footer>
</body>
</html>
"""
