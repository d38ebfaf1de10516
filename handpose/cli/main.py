"""Entry point of the command line, and its commands."""

from __future__ import annotations

import errno
import io
import os
import re
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from handpose.cli.ablate import ablate
from handpose.cli.adapt import adapt
from handpose.cli.benchmark import benchmark
from handpose.cli.calibrate import calibrate
from handpose.cli.cameras import cameras
from handpose.cli.check import check
from handpose.cli.command import HELP, Command, as_command
from handpose.cli.console import say, set_verbosity, warnings_as_lines
from handpose.cli.demo import demo
from handpose.cli.evaluate import evaluate
from handpose.cli.export import export
from handpose.cli.finetune import finetune
from handpose.cli.import_labels import import_labels
from handpose.cli.label import label
from handpose.cli.live import live
from handpose.cli.models import convert, download, models, publish
from handpose.cli.predict import predict
from handpose.cli.train import train
from handpose.cli.train_heads import train_heads
from handpose.cli.train_localizer import train_localizer
from handpose.errors import DeviceMemoryError, HandPoseError

app = typer.Typer(
    help="3D hand joints from a single depth image.",
    invoke_without_command=True,
    context_settings=HELP,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # prints errors as plain lines
)
for command in (
    *(predict, live, cameras, check, demo),
    *(models, download, publish, convert),
    *(export, benchmark),
    *(label, import_labels, finetune, adapt),
    *(train, evaluate, calibrate, ablate, train_localizer, train_heads),
):
    app.command(cls=Command, context_settings=HELP)(as_command(command))


@app.callback()
def options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    """3D hand joints from a single depth image."""
    if version:
        from handpose.version import __version__

        typer.echo(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit


_OF_THE_SYSTEM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
"""Errors of the system that the user can fix: no space, or no permission."""

_CommandLineError: type[Exception] = typer.BadParameter.__mro__[2]  # of any version of Click or of Typer's copy of it


def main() -> NoReturn:
    """Run the command line. Errors that the user can fix print one line and exit with 2; others print a traceback."""
    _open_streams()
    set_verbosity("normal")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # names of files, as Python decodes them, may be no Unicode
    try:
        with warnings_as_lines():
            sys.exit(app(standalone_mode=False))
    except (HandPoseError, DeviceMemoryError) as error:
        say(f"error: {error}")
    except _CommandLineError as error:
        say(f"error: {_describe(error)}")
    except OSError as error:
        if error.errno not in _OF_THE_SYSTEM:
            raise
        say(f"error: {error.filename or 'a file'}: cannot be used ({error.strerror})")
    except typer.Abort:  # Ctrl-C
        sys.exit(130)
    sys.exit(2)


def _open_streams() -> None:
    """Open the null device in place of standard streams that were closed, as some daemons do before they start a job.

    Otherwise, the descriptor of stdout would be that of the next file, which may be one of results.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - until the process ends


_VALIDATION = {": Value error, ": ": ", ": Input should be ": ": it must be "}
"""Beginnings of messages of the validation that newer versions of Typer use, and how they read here."""


_EXTRA_MODEL = re.compile(r"extra argument(?:s|\(s\))? \((icvl|nyu|msra)\b")


def _describe(error: Exception) -> str:
    """Return the message of an error in the arguments as one line."""
    message = " ".join(error.format_message().split()).rstrip(".")  # type: ignore[attr-defined]
    for noise, plain in _VALIDATION.items():
        message = message.replace(noise, plain)
    context = getattr(error, "ctx", None)
    command = "handpose" if context is None else context.command_path
    extra = _EXTRA_MODEL.search(message)
    options = [] if context is None else [name for option in context.command.params for name in option.opts]
    if extra and "--model" in options:
        message += f"; a model is an option: -m {extra[1]}"
    return f"{message[:1].lower()}{message[1:]}; see {command} --help"
