"""Evaluations side by side, as text, JSON, CSV, plots or an HTML page."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from handpose.errors import HandPoseError
from handpose.evaluation.metrics import CURVE_LIMIT, Evaluation
from handpose.evaluation.plots import FIGURES, check_matplotlib, draw_evaluations, save_figure
from handpose.evaluation.report_page import report_page
from handpose.evaluation.report_tables import report_tables, text_of
from handpose.geometry.camera import Camera
from handpose.geometry.layouts import JointLayout
from handpose.io.outputs import refuse_existing, require_folder, write_output, writing
from handpose.version import __version__

_SUFFIXES = (".json", ".csv", ".html")
_MISSING = (
    "Frames without a prediction are excluded from the means, are failures in the success rate, and have infinite "
    "errors in median and p95."
)
_NOTES = (
    "95% interval: bootstrap interval of the mean, which treats frames as independent. The frames of a video are "
    "correlated, so the true interval is wider.",
    f"Success rate: share of frames whose worst joint is within the threshold. AUC: area under the success rate curve "
    f"from 0 to {CURVE_LIMIT} mm, normalized to 1.",
    "x, y, z: mean absolute error along the axis. z-centered, centered: mean joint error after shifting each "
    "prediction along z, or along all axes, to the true mean of the joints. palm: the joints that belong to no finger.",
)


@dataclass(frozen=True)
class Entry:
    """One set of predictions in a report.

    Attributes:
        name: Name in tables and plots.
        evaluation: Joint errors.
        centers: Source of the hand centers; errors depend on it.
    """

    name: str
    evaluation: Evaluation
    centers: str


@dataclass(frozen=True)
class Report:
    """Evaluations of the same frames, side by side.

    Attributes:
        dataset: Name of the test data, for the heading.
        layout: Layout of the evaluated joints.
        entries: Evaluations with different names.
        camera: Intrinsics that unprojected the predictions, None if each frame has its own.
        notes: Further lines about the values.
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
            raise HandPoseError(f"a report requires evaluations with different names, got {names}")
        if len(shapes) > 1 or next(iter(shapes))[1] != len(self.layout):
            raise HandPoseError(
                f"a report requires evaluations of the same frames and of {len(self.layout)} joints, got "
                f"(frames, joints) {sorted(shapes)}"
            )

    @property
    def frames(self) -> int:
        """Number of evaluated frames."""
        return len(self.entries[0].evaluation.errors)

    def table(self) -> str:
        """Return the report as text for a terminal, without the plots."""
        parts = ["\n".join(f"{term}: {text}" for term, text in self._facts)]
        parts += [text_of(table) for table in report_tables([entry.name for entry in self.entries], self._values)]
        missing = [*self._missing, _MISSING] if self._missing else []
        return "\n\n".join([*parts, "\n".join([*_NOTES, *missing])])

    def to_dict(self) -> dict[str, Any]:
        """Return all values by name, with the success rate curve of each evaluation at every whole mm."""
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

    def write(self, path: str | Path, *, force: bool = False) -> None:
        """Write the report as `.json`, `.csv` (one line per evaluation) or `.html` (a self-contained page).

        An existing file is overwritten only with `force`.

        Raises:
            HandPoseError: The extension is not supported, the file exists or cannot be written, or `.html` is written
                without matplotlib.
        """
        path = Path(path)
        check_outputs([path], None, force=force)
        suffix = path.suffix.lower()
        if suffix == ".json":
            text = json.dumps(self.to_dict(), indent=1) + "\n"
        else:
            text = self._csv() if suffix == ".csv" else self._html()
        write_output(path, text.encode(), force=force)

    def plot(self, folder: str | Path, *, force: bool = False) -> list[Path]:
        """Write PNG plots of success rate, error per joint, error per finger and error histogram; return their paths.

        Existing plots are overwritten only with `force`.

        Raises:
            HandPoseError: matplotlib is not installed, a plot exists, or the folder cannot be written.
        """
        check_outputs((), folder, force=force)
        paths = []
        with writing(folder):
            for name, figure in draw_evaluations(self._evaluations, self.layout).items():
                Path(folder).mkdir(parents=True, exist_ok=True)
                paths.append(Path(folder) / f"{name}.png")
                save_figure(figure, paths[-1], "png")
        return paths

    @property
    def _evaluations(self) -> dict[str, Evaluation]:
        return {entry.name: entry.evaluation for entry in self.entries}

    @cached_property
    def _values(self) -> list[dict[str, Any]]:
        return [entry.evaluation.to_dict(self.layout) for entry in self.entries]

    @property
    def _missing(self) -> list[str]:
        return [
            f"{entry.name}: no prediction in frames (zero-based) {_ranges(entry.evaluation.missing)}"
            for entry in self.entries
            if len(entry.evaluation.missing)
        ]

    @property
    def _facts(self) -> list[tuple[str, str]]:
        sources: dict[str, list[str]] = {}
        for entry in self.entries:
            sources.setdefault(entry.centers, []).append(entry.name)
        centers = [text if len(sources) == 1 else f"{', '.join(names)}: {text}" for text, names in sources.items()]
        camera = self.camera and self.camera.to_dict()
        intrinsics = camera and ", ".join(f"{name} {camera[name]:g} px" for name in ("fx", "fy", "cx", "cy"))
        return [
            ("data set", f"{self.dataset}, {self.frames} frames, {len(self.layout)} joints ({self.layout.name})"),
            ("camera", intrinsics or "that of each frame"),
            ("hand centers", "; ".join(centers)),
            *(("note", note) for note in self.notes),
        ]

    def _csv(self) -> str:
        rows = []
        for entry, values in zip(self.entries, self._values, strict=True):
            row: dict[str, Any] = {"dataset": self.dataset, "name": entry.name, "centers": entry.centers}
            for key, value in values.items():
                if key == "mean_interval95_mm":
                    row |= {"mean_low95_mm": value[0], "mean_high95_mm": value[1]}
                elif isinstance(value, dict):
                    prefix = "" if key == "per_joint_mm" else "finger_"
                    row |= {f"{prefix}{part}_mm": part_value for part, part_value in value.items()}
                elif not isinstance(value, list):
                    row[key] = value
            rows.append(row)
        text = io.StringIO()
        writer = csv.DictWriter(text, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()

    def _html(self) -> str:
        names = [entry.name for entry in self.entries]
        return report_page(
            self.dataset,
            [*self._facts, ("predictions", ", ".join(names))],
            report_tables(names, self._values),
            draw_evaluations(self._evaluations, self.layout),
            [*_NOTES, _MISSING],
            self._missing,
        )


def check_outputs(reports: Iterable[str | Path], plots: str | Path | None, *, force: bool) -> None:
    """Check before a long evaluation that its report can be written.

    Args:
        reports: Files of the report.
        plots: Folder for plots, if any.
        force: Whether existing files may be overwritten.

    Raises:
        HandPoseError: A file has an extension other than `.json`, `.csv` or `.html`, exists, or is in a folder that
            does not exist; `plots` is a file; or matplotlib is required but not installed.
    """
    for path in reports:
        suffix = Path(path).suffix.lower()
        if suffix not in _SUFFIXES:
            raise HandPoseError(f"a report must be a {', '.join(_SUFFIXES)} file, got {path}")
        refuse_existing(path, force=force)
        require_folder(path)
        if suffix == ".html":
            check_matplotlib()
    if plots is not None:
        check_matplotlib()
        if Path(plots).is_file():
            raise HandPoseError(f"{plots}: is a file; expected a folder for the plots")
        for name in FIGURES:
            refuse_existing(Path(plots) / f"{name}.png", force=force)


def _ranges(numbers: np.ndarray) -> str:
    """Return ascending integers as text in which consecutive ones are ranges: `3, 7-9`."""
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
    return ", ".join(f"{run[0]}" if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
