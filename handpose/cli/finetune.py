"""`handpose finetune`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from handpose.cli.console import note_first_generation, print_row, progress, warnings_as_lines
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
from handpose.io.choices import DatasetName


def finetune(
    run: Annotated[
        Path,
        typer.Argument(help="Folder of the run, which is resumed if it exists; the model is written to RUN/model."),
    ],
    root: Root,
    data: Annotated[DatasetName, typer.Option(help="Training data: records, or a data set.")] = "records",
    start: Start = None,
    centers: Centers = "refined",
    test_share: TestShare = 0.0,
    unchecked: Annotated[
        bool, typer.Option("--unchecked", help="Do not look for systematic errors in the labels.")
    ] = False,
    steps: TuningSteps = None,
    max_minutes: TuningMinutes = float("inf"),
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Improve weights with 50 to 5,000 labeled frames. Requires the extra `train` on first use.

    A fifth of the frames is held out, by sequence. Half of the training crops are synthetic.
    """
    from handpose.adaptation.finetune import finetune
    from handpose.adaptation.tuning import tuning_config
    from handpose.datasets.records import RecordDataset
    from handpose.weights.resolve import find_weights

    dataset = open_data(data, root, "train", centers, None, test_share=test_share)
    weights = find_weights(start or dataset.layout.name)
    if isinstance(dataset, RecordDataset):
        dataset = prepare_records(dataset, weights.model_file.parent, unchecked=unchecked)
    note_first_generation("hand.npz")
    with warnings_as_lines(), progress(tuning_config(len(dataset), steps).steps) as on_step:
        result = finetune(
            run,
            dataset,
            weights,
            steps=steps,
            device=device,
            max_minutes=max_minutes,
            report=print_row,
            on_step=on_step,
        )
    typer.echo(json.dumps(result.to_dict()) if as_json else "\n".join(result.lines()))
