"""`handpose import-labels`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from handpose.cli.console import note
from handpose.cli.options import Force, RequiredCamera, Unit, parse_unit
from handpose.io.choices import Hand, LayoutName


def import_labels(
    labels: Annotated[Path, typer.Argument(metavar="LABELS", help="COCO keypoints (.json), or u v d text (.txt).")],
    frames: Annotated[Path, typer.Argument(metavar="FRAMES", help="Folder of the depth files.")],
    camera: RequiredCamera,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="File of records (.jsonl) to write.")],
    layout: Annotated[LayoutName, typer.Option(help="Layout of the joints.")] = "msra",
    unit: Unit = "mm",
    hand: Annotated[Hand, typer.Option(help="Which hand the images show.")] = "right",
    force: Force = False,
) -> None:
    """Convert labels of other tools to records.

    They are data for train, evaluate and finetune. The lines of a text file belong to the depth files in the order of
    their names. COCO files name their images.
    """
    from handpose.datasets.label_import import records_from_coco, records_from_uvd
    from handpose.geometry.camera import Camera
    from handpose.io.depth.read import SUFFIXES
    from handpose.io.inputs import list_files
    from handpose.io.outputs import refuse_existing, write_output

    refuse_existing(output, force=force)
    intrinsics, millimeters = Camera.parse(camera), parse_unit(unit)
    if labels.suffix.lower() == ".json":
        records = records_from_coco(labels, frames, intrinsics, layout, hand=hand, unit=millimeters)
    else:
        files = list_files([str(frames)], SUFFIXES)
        records = records_from_uvd(labels, files, intrinsics, layout, hand=hand, unit=millimeters)
    write_output(output, "".join(json.dumps(record) + "\n" for record in records).encode(), force=force)
    note(f"{output}: wrote {len(records)} records")
