"""The command line: parse, call the library once, print."""

from __future__ import annotations

import sys
from typing import Annotated, NoReturn

import typer

from handpose.cli.check import app as check
from handpose.cli.console import say
from handpose.cli.demo import app as demo
from handpose.cli.export import app as deploy
from handpose.cli.live import app as live
from handpose.cli.models import app as models
from handpose.cli.predict import app as predict
from handpose.cli.train import app as research
from handpose.errors import DeviceMemoryError, HandPoseError

app = typer.Typer(
    help="3D hand joints from a single depth image.",
    no_args_is_help=True,
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # errors are plain lines
)
for commands in (predict, live, check, demo, models, deploy, research):
    app.add_typer(commands)


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    """3D hand joints from a single depth image."""
    if version:
        from handpose import __version__

        typer.echo(__version__)
        raise typer.Exit


def main() -> NoReturn:
    """The entry point: an error that the caller can put right is one line and exit code 2, a bug a traceback."""
    try:
        app()
    except (HandPoseError, DeviceMemoryError) as error:
        say(f"error: {error}")
    sys.exit(2)
