"""`handpose check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from handpose.cli.console import activities, show, with_options
from handpose.cli.groups import Engine, Images
from handpose.cli.options import Json, Model, Side
from handpose.io.choices import DEFAULT_HAND


def check(
    frame: Annotated[Path, typer.Argument(metavar="FILE[#N]", help="Depth file, or frame N, from 0, of a recording.")],
    images: Images,
    engine: Engine,
    hand: Side = DEFAULT_HAND,
    model: Model = "msra",
    as_json: Json = False,
) -> None:
    """Diagnose a depth image, its camera and its unit.

    Exit code: 0 no check failed (there may be warnings), 1 at least one check failed, 2 usage error.
    """
    import dataclasses
    import json

    from handpose.inference.diagnosis import check_frame
    from handpose.inference.query import Query

    camera, unit = images.parse()
    query = Query(camera, hand=hand, unit=unit)
    with activities():
        estimator = engine.load(model)
    findings = [
        dataclasses.replace(finding, message=with_options(finding.message))
        for finding in check_frame(frame, estimator, query, topic=images.topic)
    ]
    if as_json:
        show(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=1))
    else:
        for finding in findings:
            show(f"{finding.verdict:5}{finding.name:9}{finding.message}")
    if any(finding.verdict == "fail" for finding in findings):
        raise typer.Exit(1)
