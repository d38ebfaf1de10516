"""The command, run as a user would."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.helpers.paths import EXAMPLES

CAMERA = ["-c", str(EXAMPLES / "camera.json")]
OPEN = str(EXAMPLES / "open.png")


def run(*arguments: object, cwd: Path | None = None) -> tuple[int, str, str]:
    """Runs `handpose` as a user would: (exit code, stdout, stderr)."""
    command = [sys.executable, "-m", "handpose", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr
