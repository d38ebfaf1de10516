"""Options that several commands share, and their parsers."""

from __future__ import annotations

from collections.abc import Container, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from handpose.cli.console import SimilarLines, note, say
from handpose.errors import HandPoseError
from handpose.io import choices
from handpose.io.choices import DatasetName, HandOrAuto, Split

if TYPE_CHECKING:
    from handpose.datasets.dataset import HandDataset
    from handpose.datasets.records import RecordDataset
    from handpose.geometry import camera as cameras
    from handpose.io.depth.units import DepthUnit

Model = Annotated[
    str,
    typer.Option("--model", "-m", metavar="MODEL", help="Name, folder, exported file, or OWNER/REPO."),
]
Device = Annotated[str, typer.Option(metavar="DEVICE", help="auto, cpu, cuda, cuda:1 or mps.")]
Backend = Annotated[str, typer.Option(metavar="BACKEND", help="auto, torch, onnxruntime or openvino.")]
Camera = Annotated[
    str | None,
    typer.Option(
        "--camera", "-c", metavar="CAMERA", help="icvl, nyu, msra, fx,fy,cx,cy[,width,height], .json, .yaml, .txt."
    ),
]
RequiredCamera = Annotated[
    str,
    typer.Option("--camera", "-c", metavar="CAMERA", help="icvl, nyu, msra, fx,fy,cx,cy[,width,height] or a file."),
]
Side = Annotated[HandOrAuto, typer.Option(help="Which hand; right or left, if known, saves time.")]
Topic = Annotated[str | None, typer.Option(metavar="TOPIC", help="Topic of the depth images in a ROS bag.")]
Unit = Annotated[str, typer.Option(metavar="UNIT", help="mm, m, millimeters per unit, nyu or ho3d.")]
Views = Annotated[int, typer.Option(metavar="1|2|4", help="Rotated copies to average over: slower, more accurate.")]
Precision = Annotated[choices.Precision, typer.Option(help="int8 is faster and slightly less accurate.")]
Joints = Annotated[
    choices.JointOrder | None,
    typer.Option(metavar="ORDER", help="Add `keypoints`, ordered as in mediapipe, openpose, mano or openxr."),
]
Meters = Annotated[bool, typer.Option("--meters", help="Add `keypoints` in meters.")]
Extrinsics = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Add `keypoints` in another frame: 4 x 4 camera pose in meters.")
]
Data = Annotated[
    Literal["synthetic", DatasetName], typer.Option(metavar="DATA", help="synthetic, icvl, nyu, msra or records.")
]
BatchSize = Annotated[int, typer.Option(metavar="N", min=1, help="Batch size of the network.")]
Root = Annotated[Path | None, typer.Option(metavar="FOLDER", help="Folder of the data set, or .jsonl file of records.")]
Centers = Annotated[
    str | None,
    typer.Option(metavar="CENTERS", help="refined, truth, localize, or a folder.", show_default="refined"),
]
Subject = Annotated[str | None, typer.Option(metavar="N|all", help="MSRA's test subject, 0 to 8, or all in turn.")]
TestShare = Annotated[
    float | None,
    typer.Option(metavar="SHARE", min=0.0, max=0.9, help="Share of the records to test on.", show_default="0"),
]
Workers = Annotated[int, typer.Option(metavar="N", min=0, help="Processes that load images.")]
Start = Annotated[
    str | None, typer.Option(metavar="MODEL", help="Initial weights.", show_default="built-in ones of the layout")
]
TuningSteps = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Training steps.", show_default="by the number of frames")
]
TuningMinutes = Annotated[float | None, typer.Option(metavar="MINUTES", help="Stop the training after this time.")]
Recursive = Annotated[bool, typer.Option("--recursive", "-r", help="Include the subfolders of folders.")]
Host = Annotated[str, typer.Option(metavar="ADDRESS", help="Address; 0.0.0.0 accepts other machines.")]
Port = Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="Port to listen on; 0: any free one.")]
Browser = Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite existing files.")]


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
        raise HandPoseError(f"expected {what}, got {text!r}")
    return numbers


def given(options: Mapping[str, object]) -> str:
    """Return the names of the options that have a value, separated by commas."""
    return ", ".join(name for name, value in options.items() if value is not None)


def open_data(
    name: DatasetName,
    root: Path | None,
    split: Split,
    centers: str | None,
    subject: int | None,
    cube: float | None = None,
    test_share: float | None = None,
) -> HandDataset:
    """Open the data set that the options specify, and log the frames that are excluded from a training.

    In an evaluation, the same frames have no prediction, and count as failures.
    """
    from handpose.datasets.catalog import open_dataset

    if root is None:
        raise HandPoseError(f"--data {name} requires --root, the folder of the data set")
    dataset = open_dataset(
        name, root, split, centers=centers or "refined", subject=subject, cube=cube, test_share=test_share or 0.0
    )
    if split == "train":
        _say_excluded(dataset)
    return dataset


def prepare_records(dataset: RecordDataset, model: Path, *, unchecked: bool = False) -> RecordDataset:
    """Return the records with a hand center and plausible labels, and log the excluded ones."""
    from handpose.evaluation.label_check import check_labels
    from handpose.inference.estimator import HandPoseEstimator

    note(f"hand centers: {dataset.centers}")
    checked = dataset.localized()
    if not unchecked:
        checked = check_labels(checked, HandPoseEstimator.from_pretrained(model))
    _say_excluded(checked, known=dataset.damaged)
    return checked


def _say_excluded(dataset: HandDataset, known: Container[int] = ()) -> None:
    """Log the excluded frames of a data set, except for those that are known."""
    lines = SimilarLines()
    excluded = {index: reason for index, reason in sorted(dataset.damaged.items()) if index not in known}
    for index, reason in excluded.items():
        lines.say(f"warning: {dataset.files[index]} is excluded: {reason}")
    if lines.hidden:
        say(f"warning: {len(excluded):,} of {len(dataset.files):,} frames are excluded")
