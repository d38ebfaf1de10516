"""The command line for weights: list, download, publish, convert."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from handpose.cli.console import say
from handpose.cli.options import Layout


def models() -> None:
    """List the weights: layout, parameters, license, measured error, and location of the file."""
    from handpose.weights.registry import WEIGHTS

    for record in WEIGHTS.values():
        typer.echo(f"{record.name}  {record.layout} layout, {record.parameters:,} parameters, {record.license}")
        typer.echo(f"    trained on  {record.trained_on}")
        for test, error in record.error_mm.items():
            typer.echo(f"    error       {error:.1f} mm mean, {test}")
        typer.echo(f"    file        {record.where}")


def download(
    name: Annotated[str, typer.Argument(help="A name from `handpose models`, or owner/repo[@revision] on the Hub.")],
) -> None:
    """Fetch weights into the local cache, check that they load, and print their file and its sha256."""
    from handpose.weights.resolve import find_weights

    weights = find_weights(name)
    weights.load()
    typer.echo(f"{weights.model_file}  sha256 {weights.sha256}")


def publish(
    folder: Annotated[Path, typer.Argument(help="With config.json, model.safetensors and README.md, the model card.")],
    repo: Annotated[str, typer.Argument(metavar="OWNER/REPO", help="The repository; made if need be.")],
) -> None:
    """Upload a model folder to the Hub, and print the revision and the sha256 to pin. HF_TOKEN says who you are."""
    from handpose.weights.publish import publish_weights

    revision, sha256 = publish_weights(folder, repo)
    typer.echo(f"{repo}@{revision}  sha256 {sha256}")


def convert(
    prefix: Annotated[Path, typer.Argument(help="The checkpoint's path without .index / .data-00000-of-00001.")],
    out: Annotated[Path, typer.Argument(help="The model folder to make.")],
    layout: Annotated[Layout, typer.Option(help="What the checkpoint was trained for.")],
) -> None:
    """Turn the original authors' TensorFlow checkpoint into a model folder. TensorFlow is not needed."""
    from handpose.weights.tensorflow_import import convert

    convert(prefix, out, layout.value)
    say(f"{out}: config.json and model.safetensors; use it with handpose predict -m {out}")
