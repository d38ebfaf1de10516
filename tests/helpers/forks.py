"""A process that runs `handpose` in forks of itself: one per line of its input, which it answers with an exit code."""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import sys

PACKAGES = ("cv2", "numpy", "torch", "torch._dynamo", "handpose.cli.main", "handpose.inference.estimator")
"""What most commands import. None of them starts a thread, which a fork would lack."""


def serve() -> list[str]:
    """Fork for each request; in a fork, return its arguments."""
    while line := sys.stdin.readline():
        request = json.loads(line)
        process = os.fork()
        if process == 0:
            for descriptor, file in enumerate([os.devnull, *request["files"]]):
                opened = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
                os.dup2(opened, descriptor)
                os.close(opened)
            os.chdir(request["cwd"])
            os.environ.clear()
            os.environ.update(request["environment"])
            return list(request["arguments"])
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])}\n")
        sys.stdout.flush()
    sys.exit()


if __name__ == "__main__":
    for package in PACKAGES:
        with contextlib.suppress(ImportError):
            importlib.import_module(package)
    gc.freeze()
    sys.argv = ["handpose", *serve()]
    try:
        runpy.run_module("handpose", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(end.code or 0)  # without deleting the imported packages, which takes longer than a command
