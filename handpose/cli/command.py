"""Features of all commands: short and long help options, verbosity, and groups of options."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Annotated, Any, get_type_hints

import typer
from typer.core import TyperCommand

from handpose.cli.console import set_verbosity
from handpose.errors import HandPoseError

HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
"""Settings of the help text of a command."""

WINDOW = "window"
"""The value that `--view` gets if it is passed without one."""


def _is_view(following: list[str]) -> bool:
    """Return whether the argument that follows `--view` is its value."""
    return any(argument.endswith(".rrd") or argument.startswith("rerun") for argument in following)


class Command(TyperCommand):
    """A command that accepts `--view` with and without a value."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments."""
        for number, argument in enumerate(args):
            if argument == "--":
                break
            if self.name == "live" and argument == "--view" and not _is_view(args[number + 1 : number + 2]):
                args[number] = f"--view={WINDOW}"
        return super().parse_args(ctx, args)


_Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only results, warnings and errors.")]
_Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Print more messages.")]


def as_command(function: Callable[..., None]) -> Callable[..., None]:
    """Return a function whose parameters are the options of a command.

    These are the parameters of `function`, in which the fields of a dataclass replace a parameter of its type, and
    --quiet and --verbose.
    """
    own = inspect.signature(function, eval_str=True).parameters
    groups: dict[str, Any] = {
        name: each.annotation for name, each in own.items() if dataclasses.is_dataclass(each.annotation)
    }

    @functools.wraps(function)
    def run(*, quiet: bool, verbose: bool, **options: Any) -> None:
        if quiet and verbose:
            raise HandPoseError("pass --quiet or --verbose, not both")
        set_verbosity("quiet" if quiet else "verbose" if verbose else "normal")
        for name, group in groups.items():
            options[name] = group(**{field.name: options.pop(field.name) for field in dataclasses.fields(group)})
        function(**options)

    parameters: list[inspect.Parameter] = []
    for name, each in own.items():
        parameters += _fields(groups[name]) if name in groups else [each.replace(kind=inspect.Parameter.KEYWORD_ONLY)]
    parameters += [_option("quiet", False, _Quiet), _option("verbose", False, _Verbose)]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _fields(group: Any) -> Iterator[inspect.Parameter]:
    """Yield the fields of a group of options as parameters."""
    annotations = get_type_hints(group, include_extras=True)
    for field in dataclasses.fields(group):
        yield _option(field.name, field.default, annotations[field.name])


def _option(name: str, default: object, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
