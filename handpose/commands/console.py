"""What commands share: choices, and talk on stderr."""

from __future__ import annotations

import enum

import typer


class Layout(str, enum.Enum):
    """The joint layouts."""

    icvl = "icvl"
    nyu = "nyu"
    msra = "msra"


def say(line: str) -> None:
    """A line for the person who watches; stdout is for results."""
    typer.echo(line, err=True)


def say_row(row: dict[str, float]) -> None:
    """Numbers by name, as one line."""
    say("  ".join(f"{name} {value:.6g}" for name, value in row.items()))
