"""Options that several commands share, and their parsers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from handpose.cli.console import say
from handpose.io import choices
from handpose.io.choices import DatasetName, Split

if TYPE_CHECKING:
    from handpose.datasets.dataset import HandDataset
    from handpose.geometry import camera as cameras
    from handpose.io.depth.units import DepthUnit

Model = Annotated[
    str,
    typer.Option(
        "--model", "-m", help="Name from `handpose models`, model folder, exported file, or owner/repo on the Hub."
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")]
Camera = Annotated[
    str | None,
    typer.Option("--camera", "-c", help="icvl, nyu, msra, fx,fy,cx,cy[,width,height], or a .json or ROS .yaml file."),
]
Unit = Annotated[
    str, typer.Option(help="Unit of the depth values: mm, m, millimeters per unit, or nyu (two-byte PNG).")
]
Views = Annotated[
    int, typer.Option(help="Rotated copies of each crop to average over: 1, 2 or 4. More are slower but more accurate.")
]
Topic = Annotated[str | None, typer.Option(help="Topic of the depth images, if a ROS bag contains several.")]
Precision = Annotated[
    choices.Precision,
    typer.Option(help="Precision of the network; int8 is faster and slightly less accurate (onnxruntime, openvino)."),
]
Data = Literal["synthetic", DatasetName]
Root = Annotated[Path | None, typer.Option(help="Folder of the data set, or the .jsonl file of records.")]
Centers = Annotated[
    str, typer.Option(help="Source of the hand centers: refined, truth, localize, or a folder of center files.")
]
Subject = Annotated[
    str | None, typer.Option(help="MSRA's test subject, 0 to 8, or all: each of the nine is the test subject once.")
]
TestShare = Annotated[
    float, typer.Option(min=0.0, max=0.9, help="Share of a file of records that is its test split; by sequence.")
]
Workers = Annotated[int, typer.Option(min=0, help="Number of processes that load images.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def parse_camera(text: str | None) -> cameras.Camera | None:
    """Parse `--camera`."""
    from handpose.geometry import camera as cameras

    return None if text is None else cameras.Camera.parse(text)


def parse_unit(text: str) -> DepthUnit:
    """Parse `--unit`."""
    from handpose.io.depth import units

    return units.parse_unit(text)


def parse_numbers(text: str, count: int, what: str) -> tuple[float, ...]:
    """Parse exactly `count` comma-separated numbers; `what` names the option in the error."""
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != count:
        raise typer.BadParameter(f"expected {what}, got {text!r}")
    return numbers


def subjects_of(name: Data, subject: str | None) -> list[int | None]:
    """Return the test subjects that `--subject` specifies; None stands for a data set without subjects."""
    from handpose.datasets.msra import SUBJECTS

    if subject == "all" and name == "msra":
        return [*range(SUBJECTS)]
    if subject is not None and not subject.isdecimal():
        raise typer.BadParameter(f"--subject must be 0 to {SUBJECTS - 1}, or all with --data msra, got {subject!r}")
    return [None if subject is None else int(subject)]


def open_data(
    name: DatasetName,
    root: Path | None,
    split: Split,
    centers: str,
    subject: int | None,
    cube: float | None = None,
    test_share: float = 0.0,
) -> HandDataset:
    """Open the data set that the options specify, and log the frames that are excluded from it."""
    from handpose.datasets.catalog import open_dataset

    if root is None:
        raise typer.BadParameter(f"--data {name} requires --root, the folder of the data set")
    dataset = open_dataset(name, root, split, centers=centers, subject=subject, cube=cube, test_share=test_share)
    for index, reason in sorted(dataset.damaged.items()):
        say(f"warning: {dataset.files[index]} is excluded: {reason}")
    return dataset
