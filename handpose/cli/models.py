"""`handpose models`, `download`, `publish` and `convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from handpose.cli.console import say
from handpose.io.choices import LayoutName


def models() -> None:
    """List the built-in weights with layout, parameters, license, measured errors and file."""
    from handpose.weights.registry import WEIGHTS

    for record in WEIGHTS.values():
        typer.echo(f"{record.name}  {record.layout} layout, {record.parameters:,} parameters, {record.license}")
        typer.echo(f"    trained on  {record.trained_on}")
        for test, error in record.error_mm.items():
            typer.echo(f"    error       {error:.1f} mm mean, {test}")
        typer.echo(f"    file        {record.where}")


def download(
    name: Annotated[str, typer.Argument(help="Name from `handpose models`, or owner/repo[@revision] on the Hub.")],
) -> None:
    """Download weights into the local cache, check them, and print their file and its sha256."""
    from handpose.weights.resolve import find_weights

    weights = find_weights(name)
    weights.load()
    typer.echo(f"{weights.model_file}  sha256 {weights.sha256}")


def publish(
    folder: Annotated[
        Path, typer.Argument(help="Folder of config.json, model.safetensors and README.md, the model card.")
    ],
    repo: Annotated[str, typer.Argument(metavar="OWNER/REPO", help="Repository; created if it does not exist.")],
) -> None:
    """Upload a model folder to the Hub, and print its revision and sha256. Authentication uses HF_TOKEN."""
    from handpose.weights.publish import publish_weights

    revision, sha256 = publish_weights(folder, repo)
    typer.echo(f"{repo}@{revision}  sha256 {sha256}")


def convert(
    prefix: Annotated[Path, typer.Argument(help="Path of the checkpoint without .index or .data-00000-of-00001.")],
    out: Annotated[Path, typer.Argument(help="Model folder to create.")],
    layout: Annotated[LayoutName, typer.Option(help="Joint layout of the checkpoint.")],
) -> None:
    """Convert a TensorFlow checkpoint of the original authors to a model folder. TensorFlow is not required."""
    from handpose.weights.tensorflow_import import convert

    convert(prefix, out, layout)
    say(f"{out}: wrote config.json and model.safetensors; use it with handpose predict -m {out}")
