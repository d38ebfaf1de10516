"""A row of the table that `faults` prints."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Fault(NamedTuple):
    """One kind of harm; `run` does it and returns the times tried, survived and lost."""

    name: str
    run: Callable[[], tuple[int, int, int]]
