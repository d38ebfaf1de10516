"""`handpose import-labels`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from handpose.cli.console import say
from handpose.cli.options import Unit, parse_unit
from handpose.io.choices import Hand, LayoutName


def import_labels(
    labels: Annotated[
        Path, typer.Argument(help="COCO keypoints (.json), or text with u v d per joint, one line per frame (.txt).")
    ],
    out: Annotated[Path, typer.Argument(help="File of records (.jsonl) to create.")],
    frames: Annotated[Path, typer.Option(help="Folder of the depth files; for text, sorted by name.")],
    camera: Annotated[
        str,
        typer.Option(
            "--camera", "-c", help="icvl, nyu, msra, fx,fy,cx,cy[,width,height], or a .json or ROS .yaml file."
        ),
    ],
    layout: Annotated[LayoutName, typer.Option(help="Layout of the joints.")] = "msra",
    unit: Unit = "mm",
    hand: Annotated[Hand, typer.Option(help="Which hand the images show.")] = "right",
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Convert labels to records, which train, evaluate and finetune read."""
    from handpose.datasets.label_import import records_from_coco, records_from_uvd
    from handpose.geometry.camera import Camera
    from handpose.io.atomic import write_atomically
    from handpose.io.depth.read import SUFFIXES
    from handpose.io.inputs import list_files

    if out.exists() and not force:
        raise typer.BadParameter(f"{out} already exists; pass --force to overwrite it")
    intrinsics = Camera.parse(camera)
    if labels.suffix.lower() == ".json":
        records = records_from_coco(labels, frames, intrinsics, layout, hand=hand, unit=parse_unit(unit))
    else:
        files = list_files([str(frames)], SUFFIXES)
        records = records_from_uvd(labels, files, intrinsics, layout, hand=hand, unit=parse_unit(unit))
    write_atomically(out, "".join(json.dumps(record) + "\n" for record in records).encode())
    say(f"{out}: wrote {len(records)} records")
