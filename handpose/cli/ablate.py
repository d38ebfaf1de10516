"""`handpose ablate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from handpose.cli.console import say_row
from handpose.cli.options import Layout, OptimizerChoice

if TYPE_CHECKING:
    from handpose.training.ablations import Variant


def ablate(
    folder: Annotated[Path | None, typer.Argument(help="Folder of the trainings; those begun are continued.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="Only list the variants and their parameters.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="List as JSON.")] = False,
    layout: Annotated[Layout, typer.Option(help="Joint layout.")] = Layout.nyu,
    only: Annotated[list[str] | None, typer.Option(help="A variant's name; may be given again.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Length of each training.")] = 2000,
    optimizer: Annotated[OptimizerChoice, typer.Option(help="Optimizer.")] = OptimizerChoice.muon,
    seed: Annotated[int, typer.Option(help="Of weights and data, the same for all.")] = 1,
    device: Annotated[str, typer.Option(help="cpu, cuda, ...")] = "cpu",
) -> None:
    """Train every variant of the paper's ablations alike, on rendered hands, and print the paper's tables with ours."""
    from handpose.training.ablations import VARIANTS, paper_tables, run_variant

    unknown = set(only or ()) - set(VARIANTS)
    if unknown:
        raise typer.BadParameter(f"no variant {', '.join(sorted(unknown))}; there are {', '.join(VARIANTS)}")
    chosen = [variant for name, variant in VARIANTS.items() if not only or name in only]
    if listed:
        _list_variants(chosen, layout, as_json)
        return
    if folder is None:
        raise typer.BadParameter("expected a folder for the trainings, or --list")

    from handpose.training.config import TrainingConfig
    from handpose.training.on_synthetic import synthetic_task
    from handpose.training.trainer import train

    config = TrainingConfig(steps, optimizer=optimizer.value, validate_every=min(500, steps), seed=seed)
    results = {}
    for variant in chosen:
        results[variant.name] = run_variant(
            variant,
            folder,
            layout.value,
            config,
            lambda run, model, config, report: train(run, synthetic_task(model, config, device), report),
        )
        say_row({"parameters": variant.parameters(layout.value)} | results[variant.name])
    typer.echo(paper_tables(layout.value, results))


def _list_variants(variants: list[Variant], layout: Layout, as_json: bool) -> None:
    import json

    rows = []
    for variant in variants:
        count, paper = variant.parameters(layout.value), variant.paper_parameters and f"{variant.paper_parameters}M"
        names = ("name", "parameters", "paper_parameters", "tables", "what")
        rows.append(dict(zip(names, (variant.name, count, paper, variant.tables, variant.what), strict=True)))
        if not as_json:
            tables = ", ".join(map(str, variant.tables))
            typer.echo(f"{variant.name:14}{count:>10,}  paper {paper or '-':6}table {tables:11} {variant.what}")
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
