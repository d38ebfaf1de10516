"""Entry point of the command line, and its commands."""

from __future__ import annotations

import logging
import sys
from typing import Annotated, NoReturn

import typer

from handpose.cli.ablate import ablate
from handpose.cli.benchmark import benchmark
from handpose.cli.calibrate import calibrate
from handpose.cli.check import check
from handpose.cli.console import Lines, say
from handpose.cli.demo import demo
from handpose.cli.evaluate import evaluate
from handpose.cli.export import export
from handpose.cli.live import live
from handpose.cli.models import convert, download, models, publish
from handpose.cli.predict import predict
from handpose.cli.train import train
from handpose.cli.train_localizer import train_localizer
from handpose.errors import DeviceMemoryError, HandPoseError

app = typer.Typer(
    help="3D hand joints from a single depth image.",
    no_args_is_help=True,
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # prints errors as plain lines
)
for command in (
    *(predict, live, check, demo),
    *(models, download, publish, convert),
    *(export, benchmark),
    *(train, evaluate, calibrate, ablate, train_localizer),
):
    app.command()(command)


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    """3D hand joints from a single depth image."""
    if version:
        from handpose.version import __version__

        typer.echo(__version__)
        raise typer.Exit


def main() -> NoReturn:
    """Run the command line. Errors that the user can fix print one line and exit with 2; others print a traceback."""
    log = logging.getLogger("handpose")
    log.addHandler(Lines())
    log.setLevel(logging.INFO)
    try:
        app()
    except (HandPoseError, DeviceMemoryError) as error:
        say(f"error: {error}")
    sys.exit(2)
