"""The command line's doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from handpose.cli.options import Hand, parse_unit


def check(
    frame: Annotated[Path, typer.Argument(help="A depth file.")],
    camera: Annotated[str | None, typer.Option("--camera", "-c", help="As in `handpose predict`.")] = None,
    unit: Annotated[str, typer.Option(help="As in `handpose predict`.")] = "mm",
    hand: Annotated[Hand, typer.Option(help="Which hand it should be.")] = Hand.right,
    model: Annotated[str, typer.Option("--model", "-m", help="As in `handpose predict`.")] = "msra",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:
    """Look for what is wrong with a depth image, its camera or its unit, and say what to do.

    Exit code: 0 nothing failed (there may be warnings), 1 something failed, 2 wrong usage.
    """
    import dataclasses
    import json

    from handpose.geometry.camera import Camera
    from handpose.inference.diagnosis import check_frame
    from handpose.inference.estimator import HandPoseEstimator
    from handpose.inference.query import Query

    query = Query(None if camera is None else Camera.parse(camera), hand=hand.value, unit=parse_unit(unit))
    estimator = HandPoseEstimator.from_pretrained(model, device=device)
    findings = check_frame(frame, estimator, query)
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=1))
    else:
        for finding in findings:
            typer.echo(f"{finding.verdict:5}{finding.name:9}{finding.message}")
    if any(finding.verdict == "fail" for finding in findings):
        raise typer.Exit(1)
