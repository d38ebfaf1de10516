"""`handpose models`, `download`, `publish` and `convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from handpose.cli.console import note, show
from handpose.cli.options import Force, Json
from handpose.io.choices import LayoutName


def models(as_json: Json = False) -> None:
    """List the built-in weights.

    Prints their license, measured errors and file.
    """
    import dataclasses
    import json

    from handpose.weights.registry import WEIGHTS

    if as_json:
        rows = [dataclasses.asdict(record) | {"file": record.where} for record in WEIGHTS.values()]
        show(json.dumps(rows, indent=2))
        return
    for record in WEIGHTS.values():
        show(f"{record.name}  {record.layout} layout, {record.parameters:,} parameters, {record.license}")
        show(f"    trained on  {record.trained_on}")
        for test, error in record.error_mm.items():
            show(f"    error       {error:.1f} mm mean, {test}")
        show(f"    file        {record.where}")


def download(
    name: Annotated[str, typer.Argument(metavar="MODEL", help="Built-in model, or OWNER/REPO[@REVISION] on the Hub.")],
) -> None:
    """Download weights into the cache.

    Prints their file and its sha256.
    """
    from handpose.weights.resolve import find_weights

    weights = find_weights(name)
    weights.load()
    show(f"{weights.model_file}  sha256 {weights.sha256}")


def publish(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="config.json, model.safetensors and README.md, the model card.")
    ],
    repo: Annotated[str, typer.Argument(metavar="OWNER/REPO", help="Repository; created if it does not exist.")],
) -> None:
    """Upload a model folder to the Hub.

    Prints its revision and sha256. Authentication uses HF_TOKEN.
    """
    from handpose.weights.publish import publish_weights

    revision, sha256 = publish_weights(folder, repo)
    show(f"{repo}@{revision}  sha256 {sha256}")


def convert(
    prefix: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="Path without .index or .data-00000-of-00001.")],
    layout: Annotated[LayoutName, typer.Option(help="Joint layout of the checkpoint.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Model folder to write.")],
    force: Force = False,
) -> None:
    """Convert a checkpoint of the original authors.

    Writes a model folder. TensorFlow is not required.
    """
    from handpose.weights.resolve import model_argument
    from handpose.weights.tensorflow_import import convert

    convert(prefix, output, layout, force=force)
    used = f"handpose predict -m {model_argument(output)}"
    note(f"{output}: wrote config.json and model.safetensors; use it with {used}")
