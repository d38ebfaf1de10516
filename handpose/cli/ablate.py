"""`handpose ablate`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from handpose.cli.console import activities, note, print_row, show
from handpose.cli.options import Device, Json
from handpose.cli.signals import stop_on_signal
from handpose.errors import HandPoseError
from handpose.io.choices import LayoutName, Optimizer

if TYPE_CHECKING:
    from handpose.training.ablations import Variant


def ablate(
    folder: Annotated[
        Path | None, typer.Argument(metavar="FOLDER", help="Folder of the training runs; they are resumed.")
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="Only list the variants and their parameters.")] = False,
    as_json: Json = False,
    layout: Annotated[LayoutName, typer.Option(help="Joint layout.")] = "nyu",
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Name of a variant; repeatable.", show_default="all")
    ] = None,
    steps: Annotated[int, typer.Option(metavar="N", min=1, help="Number of training steps per variant.")] = 2000,
    optimizer: Annotated[Optimizer, typer.Option(help="Optimizer.")] = "muon",
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Random seed of weights and data.")] = 1,
    device: Device = "auto",
) -> None:
    """Train the variants of the paper's ablations.

    They are trained on the same synthetic hands, which are rendered once and kept
    in the folder `crops` (19 kB per crop), so a folder has one layout. Prints the
    results with those of the paper.

    Requires the extra `train` on first use. Ctrl-C saves a checkpoint; the same command resumes the training.
    """
    from handpose.training.ablations import VARIANTS, paper_tables

    unknown = set(only or ()) - set(VARIANTS)
    if unknown:
        raise HandPoseError(
            f"unknown variants {', '.join(sorted(unknown))}; --only must be one of {', '.join(VARIANTS)}"
        )
    chosen = [variant for name, variant in VARIANTS.items() if not only or name in only]
    if listed:
        _list_variants(chosen, layout, as_json)
        return
    if folder is None:
        raise HandPoseError("expected a folder for the training runs, or --list")

    from handpose.adaptation.claim import claimed
    from handpose.network.config import JGRP2OConfig
    from handpose.training.ablations import VALIDATION_CROPS, run_variant
    from handpose.training.config import TrainingConfig
    from handpose.training.distributed import training_device
    from handpose.training.on_synthetic import synthetic_task
    from handpose.training.stored_crops import StoredCrops
    from handpose.training.trainer import train

    device, crops = training_device(device), folder / "crops"

    def train_variant(run: Path, model: JGRP2OConfig, config: TrainingConfig) -> int:
        task = synthetic_task(model, config, device, validation_crops=VALIDATION_CROPS)
        task = dataclasses.replace(task, source=StoredCrops(task.source, crops))
        return train(run, task, lambda row: None, should_stop=lambda: bool(signals))

    config = TrainingConfig(steps, optimizer=optimizer, validate_every=min(1000, steps), seed=seed)
    results = {}
    stopping = f"{folder}: stopping after this step"
    # The stored crops contain the joints of the layout.
    with activities(), claimed(folder, {"layout": layout}), stop_on_signal(stopping) as signals:
        for variant in chosen:
            result = run_variant(variant, folder, layout, config, train_variant)
            if result is None:
                note(f"{folder / variant.name}: stopped and saved; run the same command again to resume")
                raise typer.Exit(128 + signals[0])
            results[variant.name] = result
            print_row({"parameters": variant.parameters(layout)} | result)
    if as_json:
        show(json.dumps([_row(variant, layout) | results[variant.name] for variant in chosen], indent=2))
    else:
        show(paper_tables(layout, results))


def _list_variants(variants: list[Variant], layout: LayoutName, as_json: bool) -> None:
    rows = [_row(variant, layout) for variant in variants]
    if as_json:
        show(json.dumps(rows, indent=2))
        return
    for row in rows:
        tables = ", ".join(map(str, row["tables"]))
        paper = row["paper_parameters"] or "-"
        show(f"{row['name']:14}{row['parameters']:>10,}  paper {paper:6}table {tables:11} {row['what']}")


def _row(variant: Variant, layout: LayoutName) -> dict[str, Any]:
    """Return a variant as JSON types."""
    return {
        "name": variant.name,
        "parameters": variant.parameters(layout),
        "paper_parameters": variant.paper_parameters and f"{variant.paper_parameters}M",
        "tables": variant.tables,
        "what": variant.what,
    }
