"""The paper's ablations: all variants of its Tables 1 to 4, trained with the same settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from handpose.network.config import JGRP2OConfig
from handpose.network.model import JGRP2O
from handpose.training.config import TrainingConfig
from handpose.training.log import last_row


@dataclass(frozen=True)
class Variant:
    """A row of the paper's tables.

    Attributes:
        name: One word, for `handpose ablate --only`.
        tables: Numbers of the tables that contain the variant.
        what: Description in the paper's terms.
        changes: Changes to the paper's network, as fields of `JGRP2OConfig`.
        offset_loss: Whether the offsets of all pixels are supervised.
        paper_parameters: Number of parameters in the paper, in millions, if it states one.
    """

    name: str
    tables: tuple[int, ...]
    what: str
    changes: dict[str, Any] = dataclasses.field(default_factory=dict)
    offset_loss: bool = True
    paper_parameters: str | None = None

    def config(self, layout: str, **common: Any) -> JGRP2OConfig:
        """Return the configuration of the network for a joint layout."""
        return JGRP2OConfig(layout, **common, **self.changes)

    def parameters(self, layout: str) -> int:
        """Return the number of parameters as the paper counts them.

        The original checkpoints of all variants contain one (J, J) graph matrix for all stacks, trained or not.
        Counting it once yields the numbers in the paper's Tables 1 and 3.
        """
        with torch.device("meta"):
            model = JGRP2O(self.config(layout))
        count = sum(parameter.numel() for parameter in model.parameters())
        return count + (0 if isinstance(model.graph_matrix, torch.nn.Parameter) else model.graph_matrix.numel())


_NO_GRAPH = {"graph": "none", "voting": "mean"}

VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("skeleton", (1, 2, 3, 4), "JGR-P2O: skeleton graph, two stacks", paper_parameters="1.37"),
        Variant("similarity", (1,), "graph of feature similarity", {"graph": "similarity"}, paper_parameters="1.43"),
        Variant(
            "parameterized", (1,), "parameterized graph matrix", {"graph": "parameterized"}, paper_parameters="1.37"
        ),
        Variant("p2o", (2,), "P2O alone: pixels averaged, no offset loss", _NO_GRAPH, offset_loss=False),
        Variant("offsetloss", (2,), "P2O with the offset loss", _NO_GRAPH),
        Variant("stacks1", (3,), "one stack", {"stacks": 1}, paper_parameters="0.72"),
        Variant("stacks3", (3,), "three stacks", {"stacks": 3}, paper_parameters="2.02"),
        Variant(
            "attention",
            (4,),
            "attention baseline: an attention module weights the pixels",
            {"graph": "none", "voting": "attention"},
            paper_parameters="1.42",
        ),
        Variant(
            "heatmap",
            (4,),
            "differentiable heat-map baseline (DHM)",
            {"voting": "heatmap"},
            offset_loss=False,
            paper_parameters="1.37",
        ),
    )
}
"""All variants by name, in the order of the tables."""

TITLES = {
    1: "Graph structure",
    2: "Components",
    3: "Stacks",
    4: "Prediction schemes",
}
"""Titles of the paper's tables."""

PAPER_ERROR_MM = {
    "skeleton": 8.29,
    "similarity": 8.45,
    "parameterized": 8.36,
    "p2o": 10.83,
    "offsetloss": 10.54,
    "stacks1": 8.63,
    "stacks3": 8.27,
    "attention": 8.72,
    "heatmap": 8.69,
}
"""Mean joint errors on NYU in the paper's Tables 1 to 4, mm."""

VALIDATION_CROPS = 3000
"""Number of validation crops: with as few as in other runs, chance would hide differences of several tenths of a mm."""

Train = Callable[[Path, JGRP2OConfig, TrainingConfig], int]
"""Function that trains a network in a folder and returns the number of completed steps."""


def run_variant(
    variant: Variant, folder: Path, layout: str, config: TrainingConfig, train: Train
) -> dict[str, float] | None:
    """Train a variant, or resume its training, and return the metrics of its last validation.

    If the training is stopped, None is returned.

    Args:
        variant: The variant.
        folder: Folder of all training runs, which contains one folder for each variant.
        layout: Joint layout.
        config: Training settings, the same for all variants.
        train: Function that trains a network.
    """
    if not variant.offset_loss:
        config = dataclasses.replace(config, offset_weight=0.0)
    if train(folder / variant.name, variant.config(layout), config) < config.steps:
        return None
    return last_row(folder / variant.name)


def paper_tables(layout: str, results: dict[str, dict[str, float]]) -> str:
    """Return the paper's four tables in Markdown, with our numbers of parameters and errors next to the paper's.

    Args:
        layout: Joint layout of the trained networks.
        results: Results of `run_variant` by name of the variant; other variants are omitted.
    """
    full = results.get("skeleton")
    lines = []
    for table, title in TITLES.items():
        lines += [
            f"Table {table}. {title}",
            "",
            "| | Parameters | in the paper | Mean, mm | to `skeleton` | Median, mm | Paper, NYU, mm | to `skeleton` |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for variant in VARIANTS.values():
            if table not in variant.tables or variant.name not in results:
                continue
            row, paper = results[variant.name], PAPER_ERROR_MM[variant.name]
            cells = [
                variant.what,
                f"{variant.parameters(layout) / 1e6:.2f} M",
                f"{variant.paper_parameters} M" if variant.paper_parameters else "-",
                f"{row['mean_mm']:.2f}",
                "-" if full is None else f"{row['mean_mm'] - full['mean_mm']:+.2f}",
                f"{row['median_mm']:.2f}",
                f"{paper:.2f}",
                f"{paper - PAPER_ERROR_MM['skeleton']:+.2f}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)
