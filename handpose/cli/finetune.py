"""`handpose finetune`."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated

import typer

from handpose.cli.console import activities, print_row, show
from handpose.cli.options import (
    Centers,
    Device,
    Json,
    Root,
    Start,
    TestShare,
    TuningMinutes,
    TuningSteps,
    open_data,
    prepare_records,
)
from handpose.errors import HandPoseError
from handpose.io.choices import DatasetName


def finetune(
    run: Annotated[Path, typer.Argument(metavar="FOLDER", help="Training run, with the result in FOLDER/model.")],
    root: Root = None,
    data: Annotated[DatasetName, typer.Option(help="Training data: records, or a data set.")] = "records",
    start: Start = None,
    centers: Centers = None,
    subject: Annotated[
        int | None, typer.Option(metavar="N", min=0, max=8, help="MSRA's test subject, excluded from training.")
    ] = None,
    test_share: TestShare = None,
    unchecked: Annotated[
        bool, typer.Option("--unchecked", help="Do not look for systematic errors in the labels.")
    ] = False,
    steps: TuningSteps = None,
    max_minutes: TuningMinutes = None,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Improve a model with labeled frames of your own.

    About 50 or more frames are needed. A fifth of them, in complete sequences, is held out to stop the training and to
    measure the result. Half of the training crops are synthetic, which keeps the model from getting worse on other
    cameras. Requires the extra `train` on first use. The same command resumes an interrupted training.
    """
    from handpose.adaptation.finetune import check_joints, finetune
    from handpose.datasets.records import RecordDataset
    from handpose.weights.resolve import find_weights

    if unchecked and data != "records":
        raise HandPoseError("--unchecked is for records; the labels of a data set are not checked; omit it")
    dataset = open_data(data, root, "train", centers, subject, test_share=test_share)
    weights = find_weights(start or dataset.layout.name)
    check_joints(weights, dataset)
    with activities():
        if isinstance(dataset, RecordDataset):
            dataset = prepare_records(dataset, weights.model_file.parent, unchecked=unchecked)
        minutes = math.inf if max_minutes is None else max_minutes
        result = finetune(run, dataset, weights, steps=steps, device=device, max_minutes=minutes, report=print_row)
    show(json.dumps(result.to_dict()) if as_json else "\n".join(result.lines()))
