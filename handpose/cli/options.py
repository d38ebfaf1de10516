"""Options that commands share, and what they mean."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from handpose.cli.console import say

if TYPE_CHECKING:
    from handpose.datasets.dataset import HandDataset

if TYPE_CHECKING:
    from handpose.io.depth.units import DepthUnit


class Layout(str, enum.Enum):
    """The joint layouts."""

    icvl = "icvl"
    nyu = "nyu"
    msra = "msra"


class Hand(str, enum.Enum):
    """Which hand an image shows."""

    right = "right"
    left = "left"


class HandOrAuto(str, enum.Enum):
    """Which hand an image shows, or that nobody knows."""

    right = "right"
    left = "left"
    auto = "auto"


def parse_unit(text: str) -> DepthUnit:
    """What `--unit` means."""
    if text in ("mm", "m", "nyu"):
        return text  # type: ignore[return-value]
    (unit,) = parse_numbers(text, 1, "--unit mm|m|nyu|NUMBER")
    if not 0 < unit < float("inf"):
        raise typer.BadParameter(f"expected --unit mm|m|nyu|NUMBER with a number above 0, got {text!r}")
    return unit


def parse_numbers(text: str, count: int, what: str) -> tuple[float, ...]:
    """So many numbers with commas between them; `what` is said if they are not."""
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != count:
        raise typer.BadParameter(f"expected {what}, got {text!r}")
    return numbers


Model = Annotated[str, typer.Option("--model", "-m", help="As in `handpose predict`.")]


class Data(str, enum.Enum):
    """What to train or measure on."""

    synthetic = "synthetic"
    icvl = "icvl"
    nyu = "nyu"
    msra = "msra"


Root = Annotated[Path | None, typer.Option(help="The data set's folder.")]
Centers = Annotated[
    str, typer.Option(help="Where hand centres come from: refined, truth, localize, or a folder of centre files.")
]
Subject = Annotated[int | None, typer.Option(help="MSRA's test subject, 0 to 8.")]
Workers = Annotated[int, typer.Option(min=0, help="Processes that read images.")]


class OptimizerChoice(str, enum.Enum):
    """Optimizers."""

    muon = "muon"
    adam = "adam"


Optimizer = Annotated[
    OptimizerChoice | None, typer.Option(help="Optimizer (default: muon; the paper's recipe uses adam).")
]


def open_chosen(
    data: Data, root: Path | None, split: Any, centers: str, subject: int | None, cube: float | None
) -> HandDataset:
    """The data set that the options name."""
    from handpose.datasets.catalog import open_dataset

    if root is None:
        raise typer.BadParameter(f"--data {data.value} needs --root, the data set's folder")
    name: Any = data.value
    dataset = open_dataset(name, root, split, centers=centers, subject=subject, cube=cube)
    for number, reason in sorted(dataset.damaged.items()):
        say(f"warning: {dataset.files[number]} is left out: {reason}")
    return dataset
