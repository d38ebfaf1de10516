"""A report as a self-contained HTML page."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from handpose.evaluation.plots import save_figure
from handpose.evaluation.report_tables import Table
from handpose.version import __version__

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TEMPLATE = Path(__file__).with_name("report_page.html")


def report_page(
    dataset: str,
    facts: Sequence[tuple[str, str]],
    tables: Sequence[Table],
    figures: Mapping[str, Figure],
    notes: Sequence[str],
    missing: Sequence[str],
) -> str:
    """Return the HTML page of a report; its policy prevents browsers from loading anything else.

    Args:
        dataset: Name of the test data, for the title.
        facts: Terms and their descriptions, for the head of the page.
        tables: `report_tables` of the report.
        figures: `draw_evaluations` of the report.
        notes: Paragraphs that explain the values.
        missing: Paragraphs about missing predictions.
    """
    error, success, axes, fingers, joints = map(_html_table, tables)
    images = {name: _image(name, figure) for name, figure in figures.items()}
    sections = [
        error,
        success,
        images["success_rate"],
        images["error_histogram"],
        axes,
        fingers,
        images["per_finger"],
        joints,
        images["per_joint"],
        "<h2>How to read the values</h2>",
        *map(_paragraph, notes),
        *(
            ["<h2>Missing frames</h2>", *map(_paragraph, missing)]
            if missing
            else ["<p>Every frame has a prediction.</p>"]
        ),
    ]
    terms = [f"<dt>{_capitalized(term)}</dt><dd>{html.escape(text)}</dd>" for term, text in facts]
    return Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=html.escape(f"Hand pose evaluation: {dataset}"),
        facts="\n".join(terms),
        body="\n".join(sections),
        version=__version__,
    )


def _paragraph(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"


def _capitalized(text: str) -> str:
    return text[0].upper() + text[1:]


def _image(name: str, figure: Figure) -> str:
    # Separate images instead of inline SVG: the element ids of the figures would collide in one page.
    file = io.BytesIO()
    save_figure(figure, file, "svg")
    source = base64.b64encode(file.getvalue()).decode("ascii")
    text = _capitalized(name.replace("_", " "))
    return f'<figure><img alt="{text}" src="data:image/svg+xml;base64,{source}"></figure>'


def _html_table(table: Table) -> str:
    head = "".join(f"<th>{html.escape(column)}</th>" for column in table.columns)
    rows = []
    for i, row in enumerate(table.rows):
        cells = [f"<td{' class=best' * ((i, j) in table.best)}>{html.escape(cell)}</td>" for j, cell in enumerate(row)]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return (
        f"<h2>{html.escape(table.title)}</h2>\n<div><table><thead><tr>{head}</tr></thead>\n"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )
