"""Features of all commands: short and long help options, verbosity, and former names of options."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from handpose.cli.console import set_verbosity
from handpose.errors import HandPoseError

HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
"""Settings of the help text of a command."""

_FORMER = {"train": {"--batch": "--batch-size"}, "evaluate": {"--dataset": "--data"}}
"""Former names of options, which are still accepted, by command."""

WINDOW = "window"
"""The value that `--view` gets if it is passed without one."""


def _is_view(following: list[str]) -> bool:
    """Return whether the argument that follows `--view` is its value."""
    return any(argument.endswith(".rrd") or argument.startswith("rerun") for argument in following)


class Command(TyperCommand):
    """A command that accepts the former names of its options, and `--view` with and without a value."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments, with former names replaced."""
        names = _FORMER.get(self.name or "", {})
        for number, argument in enumerate(args):
            if argument == "--":
                break
            name, equals, value = argument.partition("=")
            args[number] = f"{names.get(name, name)}{equals}{value}"
            if self.name == "live" and argument == "--view" and not _is_view(args[number + 1 : number + 2]):
                args[number] = f"--view={WINDOW}"
        return super().parse_args(ctx, args)


_Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only results, warnings and errors.")]
_Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Print more messages.")]


def with_verbosity(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command with the options --quiet and --verbose."""

    @functools.wraps(command)
    def run(*, quiet: bool, verbose: bool, **options: Any) -> None:
        if quiet and verbose:
            raise HandPoseError("pass --quiet or --verbose, not both")
        set_verbosity("quiet" if quiet else "verbose" if verbose else "normal")
        command(**options)

    own = inspect.signature(command, eval_str=True)
    more = {"quiet": _Quiet, "verbose": _Verbose}
    kind = inspect.Parameter.KEYWORD_ONLY
    run.__signature__ = own.replace(  # type: ignore[attr-defined]
        parameters=[
            *(parameter.replace(kind=kind) for parameter in own.parameters.values()),
            *(inspect.Parameter(name, kind, default=False, annotation=each) for name, each in more.items()),
        ]
    )
    run.__annotations__ = {name: each.annotation for name, each in run.__signature__.parameters.items()}  # type: ignore[attr-defined]
    return run
