"""Archives of files."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path


def tar_of(path: Path, members: Sequence[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path
