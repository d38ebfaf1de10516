"""The command, run as a user would."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.helpers.paths import EXAMPLES, ROOT

CAMERA = ["-c", str(EXAMPLES / "camera.json")]
OPEN = str(EXAMPLES / "open.png")


def run(*arguments: object, cwd: Path | None = None) -> tuple[int, str, str]:
    """Runs `handpose` in a process of its own, as a user would: (exit code, stdout, stderr)."""
    words = [*map(str, arguments)]
    if sys.platform == "linux":  # elsewhere, a process that has imported PyTorch may not be forked
        code, out, err = _fork(words, cwd)
    else:
        command = [sys.executable, "-m", "handpose", *words]
        done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)
        code, out, err = done.returncode, done.stdout, done.stderr
    assert "Traceback" not in err, err
    return code, out, err


def _fork(words: list[str], cwd: Path | None) -> tuple[int, str, str]:
    """Runs it in a fork of a process that has imported the packages, which takes longer than most commands."""
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        request = {"arguments": words, "cwd": str(cwd or Path.cwd()), "files": [str(out), str(err)]}
        server.stdin.write(json.dumps({**request, "environment": dict(os.environ)}) + "\n")
        server.stdin.flush()
        code = int(server.stdout.readline())
        return code, out.read_text(), err.read_text()


@functools.cache
def _server() -> subprocess.Popen[str]:
    """Starts the process that is forked. It ends with this one, since its input ends then."""
    command = [sys.executable, "-m", "tests.helpers.forks"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
