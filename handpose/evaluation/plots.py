"""Plots of evaluations side by side. Requires matplotlib, the extra `plot`."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np

from handpose.errors import HandPoseError
from handpose.evaluation.metrics import CURVE_LIMIT, Evaluation
from handpose.geometry.layouts import JointLayout

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Evaluations = Mapping[str, Evaluation]

# Okabe and Ito's palette without its yellow, which color-blind readers can distinguish. When the colors repeat, line
# styles and hatches change.
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555")
_LINES = ("-", "--", "-.", ":")
_HATCHES = ("", "////", "....", "xxxx")
FIGURES = ("success_rate", "per_joint", "per_finger", "error_histogram")
"""Names of the figures."""
_MAX_LEGEND_INSIDE = 5  # more names would cover the curves
_STYLE: dict[Any, Any] = {
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "legend.edgecolor": "none",
    "legend.framealpha": 0.9,
    "text.parse_math": False,  # names are not formulas
    "svg.hashsalt": "handpose",  # makes the element ids deterministic
    "figure.constrained_layout.use": True,
}


def check_matplotlib() -> None:
    """Check that matplotlib is installed.

    Raises:
        HandPoseError: It is not.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise HandPoseError("plots require matplotlib: pip install 'handpose[plot]'")


def draw_evaluations(evaluations: Evaluations, layout: JointLayout) -> dict[str, Figure]:
    """Return the figures by the names in `FIGURES`.

    Args:
        evaluations: Evaluations by their names in the legends.
        layout: Layout of the evaluated joints.

    Raises:
        HandPoseError: matplotlib is not installed.
    """
    check_matplotlib()
    import matplotlib as mpl
    from matplotlib.figure import Figure

    shown = {
        " " + name if name.startswith("_") else name: e for name, e in evaluations.items()
    }  # matplotlib hides labels that start with "_"
    joints = {name: np.append(e.per_joint, e.mean) for name, e in shown.items()}
    fingers = {name: np.append(list(e.per_finger(layout).values()), e.mean) for name, e in shown.items()}
    first = next(iter(evaluations.values()))
    curve_width = 6.0 if len(evaluations) <= _MAX_LEGEND_INSIDE else 9.0
    plots: list[tuple[float, Callable[[Axes], None]]] = [
        (curve_width, lambda axes: _success_rate(axes, shown)),
        (9.0, lambda axes: _bars(axes, joints, [*layout.joints, "mean"])),
        (6.0, lambda axes: _bars(axes, fingers, [*first.per_finger(layout), "mean"])),
        (curve_width, lambda axes: _histogram(axes, shown)),
    ]
    figures = {}
    with mpl.rc_context(_STYLE):
        for name, (width, draw) in zip(FIGURES, plots, strict=True):
            figures[name] = Figure(figsize=(width, 3.6))
            draw(figures[name].add_subplot())
    return figures


def save_figure(figure: Figure, file: Path | BinaryIO, format: str) -> None:
    """Write a figure of `draw_evaluations` as `png` or `svg`."""
    import matplotlib as mpl

    with mpl.rc_context(_STYLE):
        # Without the date and the program, equal evaluations produce equal files.
        metadata = dict.fromkeys(("Date", "Creator", "Format", "Type")) if format == "svg" else {"Software": None}
        figure.savefig(file, format=format, dpi=150, metadata=metadata)


def _success_rate(axes: Axes, evaluations: Evaluations) -> None:
    thresholds = np.linspace(0, CURVE_LIMIT, 4 * CURVE_LIMIT + 1)
    for i, (name, evaluation) in enumerate(evaluations.items()):
        rate = 100 * evaluation.success_curve(thresholds)
        axes.plot(thresholds, rate, _line(i), color=_pick(_COLORS, i), label=f"{name} (AUC {evaluation.auc:.3f})")
    axes.set(
        xlim=(0, CURVE_LIMIT),
        ylim=(0, 100),
        xlabel="threshold on the worst joint error of a frame [mm]",
        ylabel="share of frames within the threshold [%]",
    )
    _legend(axes, "lower right")


def _bars(axes: Axes, values: Mapping[str, np.ndarray], labels: Sequence[str]) -> None:
    positions = np.arange(len(labels), dtype=float)
    positions[-1] += 0.5  # separates the mean
    width = 0.8 / len(values)
    for i, (name, heights) in enumerate(values.items()):
        offset = (i - (len(values) - 1) / 2) * width
        axes.bar(
            positions + offset,
            heights,
            width,
            color=_pick(_COLORS, i),
            hatch=_pick(_HATCHES, i // len(_COLORS)),
            edgecolor="white",
            linewidth=0.5,
            label=name,
        )
    readable = [label.replace("_", " ") for label in labels]
    crowded = len(labels) > 8
    axes.set_xticks(positions, readable, rotation=45 if crowded else 0, ha="right" if crowded else "center")
    axes.tick_params(axis="x", length=0)
    axes.set(xlim=(positions[0] - 0.6, positions[-1] + 0.6), ylabel="mean joint error [mm]")
    axes.grid(visible=False, axis="x")
    # Above the axes, because inside the legend would cover bars.
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=min(3, len(values)))


def _histogram(axes: Axes, evaluations: Evaluations) -> None:
    edges = np.arange(0, CURVE_LIMIT + 1)
    for i, (name, evaluation) in enumerate(evaluations.items()):
        counts, _ = np.histogram(evaluation.errors, edges)  # infinite errors are outside all bins
        share = 100 * counts / np.count_nonzero(~np.isnan(evaluation.errors))  # NaN without a label
        axes.stairs(share, edges, color=_pick(_COLORS, i), linestyle=_line(i), linewidth=1.2, label=name)
    axes.set(xlim=(0, CURVE_LIMIT), xlabel="joint error [mm]", ylabel="share of joints per mm [%]")
    axes.set_ylim(bottom=0)
    _legend(axes, "upper right")


def _legend(axes: Axes, corner: Literal["lower right", "upper right"]) -> None:
    """Draw the legend in a corner without curves, or next to the axes if it would cover them."""
    handles, _ = axes.get_legend_handles_labels()
    if len(handles) <= _MAX_LEGEND_INSIDE:
        axes.legend(loc=corner)
    else:
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1))


def _line(i: int) -> str:
    return _pick(_LINES, i // len(_COLORS))


def _pick(choices: Sequence[str], i: int) -> str:
    return choices[i % len(choices)]
