"""Where files are kept that take long to make."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """`HANDPOSE_CACHE`, else `~/.cache/handpose`; not made yet."""
    return Path(os.environ.get("HANDPOSE_CACHE", Path.home() / ".cache" / "handpose"))
