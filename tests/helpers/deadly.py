"""An object that ends processes."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any


class Deadly:
    """Ends the process that reads it, as a system without memory does."""

    def __reduce__(self) -> tuple[Callable[[int], Any], tuple[int]]:
        return os._exit, (1,)
