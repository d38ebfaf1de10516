"""The command, run in a terminal."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path


def run_in_terminal(*arguments: object, cwd: Path | None = None) -> tuple[int, str]:
    """Runs `handpose` in a terminal of 100 columns: the exit code, and what remains visible of each line."""
    process, reader = start_in_terminal(*arguments, cwd=cwd)
    text = read_all(reader)
    return process.wait(), visible(text)


def start_in_terminal(*arguments: object, cwd: Path | None = None) -> tuple[subprocess.Popen[bytes], int]:
    """Starts `handpose` in a terminal: the process, and the file descriptor to read its output from."""
    reader, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "handpose", *map(str, arguments)],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        cwd=cwd,
        env=os.environ | {"COLUMNS": "100"},
        start_new_session=True,
    )
    os.close(terminal)
    return process, reader


def read_all(reader: int) -> str:
    """Reads the output until the process ends."""
    data = b""
    while True:
        try:
            part = os.read(reader, 65536)
        except OSError:  # Linux reports the end of a terminal as an error
            part = b""
        if not part:
            os.close(reader)
            return data.decode()
        data += part


def visible(text: str) -> str:
    """Returns what remains visible after the bars have been overwritten."""
    return "\n".join(re.sub(r".*\r\x1b\[2K", "", line) for line in text.replace("\r\n", "\n").split("\n"))
